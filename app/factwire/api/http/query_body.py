"""Queries in the bodies of requests. Of a body of megabytes nothing but the query is kept while the request waits."""

import asyncio

from starlette.requests import Request

from factwire.api.http.context import context_of
from factwire.api.http.decoding_turns import LARGE_BYTES
from factwire.api.http.json_decoding import Decoder
from factwire.api.http.models import QueryBody, parse_items
from factwire.domain.query import Query

QUERY = Decoder(QueryBody)


async def read_query(request: Request) -> Query:
    """The query that is the body of a request."""
    return await decode_query(await context_of(request).bodies.read_json(request))


async def decode_query(raw: bytes) -> Query:
    """The query in a body. Others have the process after each item of a large one, which takes half a millisecond."""
    body, _ = QUERY.decode(raw)
    items = []
    for item in parse_items(body.items or (), "/items"):
        items.append(item)
        if len(raw) >= LARGE_BYTES:
            await asyncio.sleep(0)
    return Query(tuple(items))
