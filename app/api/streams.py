"""Streams: follow the log over Server-Sent Events."""

from starlette.requests import Request
from starlette.responses import Response

from app.api.admitting import Rule
from app.api.context import context_of
from app.api.decoding import Decoder
from app.api.documenting import READ_PROBLEMS, operation
from app.api.following import OPTIONS, TICKET
from app.api.opening import answer_stream
from app.api.parameters import FILTERS, parameters_of
from app.api.repeated_members import texts_of
from app.api.routing import new_router
from app.api.sse import MEDIA_TYPE
from app.api.wire import Fact, QueryBody, query_from
from app.domain import errors

router = new_router("streams")

QUERY = Decoder(QueryBody, texts_of=texts_of)


@router.get(
    "/v1/stream",
    **operation(
        "follow",
        "History from a cursor on, then each new fact as it is published.",
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
    return await answer_stream(request, parameters, parameters.query())


@router.post(
    "/v1/stream",
    **operation(
        "follow_query",
        "The same as follow, with the query in the body.",
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
    raw = await context_of(request).bodies.read_json(request)
    body, _ = QUERY.decode(raw)
    return await answer_stream(request, parameters, query_from(body))
