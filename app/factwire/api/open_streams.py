"""Open streams of this process, with the principal, query and lag of each."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import Rule, principal_of
from factwire.api.http.compression import encoded_response
from factwire.api.http.context import context_of
from factwire.api.http.model_conversion import query_body_from
from factwire.api.http.models import QueryBody
from factwire.api.http.query_parameters import parameters_of
from factwire.api.http.routing import new_router
from factwire.api.openapi.operation import operation
from factwire.domain import errors
from factwire.domain.fact import utc
from factwire.domain.grants import NamespaceSet
from factwire.domain.query import Query
from factwire.follow.streams import OpenStream

router = new_router("operations")

STREAMS_LISTED_MAX = 200


class OneStream(msgspec.Struct):
    """An open stream. `lag` is the number of positions between it and the head, including facts that do not match."""

    principal: str
    opened_at: str
    caught_up: bool
    position: int
    lag: int
    query: Annotated[
        QueryBody | UnsetType, Meta(description="Omitted if it may match facts that you may not read.")
    ] = UNSET


class OpenStreams(msgspec.Struct):
    """Number of open streams in the process that answers, and the streams with the largest lag."""

    open: int
    head: int
    streams: list[OneStream]


@router.get(
    "/v1/streams",
    **operation(
        "list_streams",
        "Open streams of the process that answers, those with the largest lag first.",
        description="At most 200 streams, of the process that answers. It shows who is behind, and by how much.",
        rule=Rule.MANAGE,
        result=OpenStreams,
        result_example="open_streams",
        problems=(errors.UnknownParameter,),
    ),
)
async def list_streams(request: Request) -> Response:
    parameters_of(request)
    context = context_of(request)
    head = context.tail.head
    readable = principal_of(request).grants.readable
    listed = [
        open_stream_body(stream, head, readable) for stream in context.streams.furthest_behind(STREAMS_LISTED_MAX)
    ]
    return await encoded_response(request, msgspec.json.encode(OpenStreams(context.streams.open, head, listed)))


def open_stream_body(stream: OpenStream, head: int, readable: NamespaceSet) -> OneStream:
    query = stream.request.query
    position = stream.progress.cursor
    return OneStream(
        principal=stream.request.reader.name,
        opened_at=utc(datetime.fromtimestamp(stream.opened_at, UTC)),
        caught_up=stream.progress.caught_up,
        position=position,
        lag=max(0, head - position),
        query=query_body_from(query) if is_within(query, readable) else UNSET,
    )


def is_within(query: Query, readable: NamespaceSet) -> bool:
    """True if the query can match only facts in readable namespaces."""
    return readable.are_all or (
        bool(query.items)
        and all(item.namespaces and all(name in readable for name in item.namespaces) for item in query.items)
    )
