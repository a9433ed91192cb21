"""Queries in request bodies. Of a body of megabytes, only the query is kept while the request waits."""

import asyncio

from starlette.requests import Request

from factwire.api.http.context import context_of
from factwire.api.http.decoding_turns import LARGE_BYTES
from factwire.api.http.json_decoding import Decoder
from factwire.api.http.model_conversion import parse_items
from factwire.api.http.models import QueryBody
from factwire.domain.limits import Limits
from factwire.domain.query import Query

QUERY = Decoder(QueryBody)


async def read_query(request: Request) -> Query:
    """Read the query in the body of a request."""
    context = context_of(request)
    return await decode_query(await context.bodies.read_json(request), context.limits)


async def decode_query(raw: bytes, limits: Limits) -> Query:
    """Decode a query. In a large body, other tasks run after each item, which takes half a millisecond."""
    body, _ = QUERY.decode(raw)
    items = []
    for item in parse_items(body.items or (), "/items", limits):
        items.append(item)
        if len(raw) >= LARGE_BYTES:
            await asyncio.sleep(0)
    return Query(tuple(items))
