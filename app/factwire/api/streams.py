"""Streams: follow the log over Server-Sent Events."""

from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import Rule
from factwire.api.http.context import context_of
from factwire.api.http.models import Fact, QueryBody
from factwire.api.http.query_body import read_query
from factwire.api.http.query_parameters import FILTERS, parameters_of
from factwire.api.http.routing import new_router
from factwire.api.http.sse import MEDIA_TYPE
from factwire.api.http.stream_options import OPTIONS, TICKET
from factwire.api.http.stream_response import answer_stream
from factwire.api.openapi.operation import READ_PROBLEMS, operation
from factwire.domain import errors

router = new_router("streams")


@router.get(
    "/v1/stream",
    **operation(
        "follow",
        "History after a cursor, then each new fact when it is published.",
        description=(
            "Server-Sent Events: history first, then `caught-up`, then each new fact. Every event has the "
            "cursor after it as its id. A stream may end at any time, and always ends cleanly: reconnect "
            "with the last id."
        ),
        rule=Rule.READ,
        parameters=(*FILTERS, *OPTIONS, TICKET),
        header_parameters=("Last-Event-ID",),
        result=Fact,
        result_example="stream",
        media_type=MEDIA_TYPE,
        problems=READ_PROBLEMS,
    ),
)
async def follow(request: Request) -> Response:
    parameters = parameters_of(request, *FILTERS, *OPTIONS, TICKET)
    return await answer_stream(request, parameters, parameters.query(context_of(request).limits))


@router.post(
    "/v1/stream",
    **operation(
        "follow_query",
        "The same as follow, with the query in the body.",
        description="For queries of several items. Everything else is as in follow.",
        rule=Rule.READ,
        parameters=OPTIONS,
        header_parameters=("Last-Event-ID",),
        body=QueryBody,
        body_example="query",
        result=Fact,
        result_example="stream",
        media_type=MEDIA_TYPE,
        problems=(
            *READ_PROBLEMS,
            errors.MalformedJson,
            errors.RequestTimeout,
            errors.BodyTooLarge,
            errors.UnsupportedMediaType,
        ),
    ),
)
async def follow_query(request: Request) -> Response:
    parameters = parameters_of(request, *OPTIONS)
    return await answer_stream(request, parameters, await read_query(request))
