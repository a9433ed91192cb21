"""Queries in the bodies of requests. Of a body of megabytes nothing but the query is kept while the request waits."""

from starlette.requests import Request

from app.api.context import context_of
from app.api.decoding import Decoder
from app.api.wire import QueryBody, query_from
from app.domain.query import Query

QUERY = Decoder(QueryBody)


async def read_query(request: Request) -> Query:
    """The query that is the body of a request."""
    return decoded_query(await context_of(request).bodies.read_json(request))


def decoded_query(raw: bytes) -> Query:
    body, _ = QUERY.decode(raw)
    return query_from(body)
