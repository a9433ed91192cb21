"""Tickets: credentials for an EventSource of another origin, which cannot send headers."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import Rule, principal_of
from factwire.api.http.context import context_of
from factwire.api.http.direct_response import JSON, header
from factwire.api.http.models import QueryBody
from factwire.api.http.query_body import decode_query
from factwire.api.http.query_parameters import FILTERS, Parameters, parameters_of
from factwire.api.http.routing import new_router
from factwire.api.http.stream_options import OPTIONS, follow_options
from factwire.api.openapi.operation import READ_PROBLEMS, operation
from factwire.domain import errors
from factwire.domain.errors import FieldError, InvalidRequest
from factwire.domain.fact import utc
from factwire.domain.query import Query

router = new_router("access")


class Ticket(msgspec.Struct):
    """A single-use credential that opens one stream, once."""

    ticket: str
    expires_at: str


@router.post(
    "/v1/tickets",
    **operation(
        "issue_ticket",
        "A ticket for one stream: with the parameters that it will have, or with its query as the body.",
        description=(
            "For an EventSource of another origin, which cannot send headers. A ticket is refused for the "
            "same reasons as its stream, and here a page can read the reason."
        ),
        rule=Rule.READ,
        parameters=(*FILTERS, *OPTIONS),
        body=QueryBody,
        body_example="query",
        body_required=False,
        result=Ticket,
        result_example="ticket",
        status=201,
        problems=(
            *READ_PROBLEMS,
            errors.MalformedJson,
            errors.RequestTimeout,
            errors.BodyTooLarge,
            errors.UnsupportedMediaType,
        ),
    ),
)
async def issue_ticket(request: Request) -> Response:
    """A ticket is refused for the same reasons as its stream; here a page can read the reason."""
    context = context_of(request)
    principal = principal_of(request)
    parameters = parameters_of(request, *FILTERS, *OPTIONS)
    query = await asked_query(request, parameters)
    options = follow_options(parameters, heartbeat_seconds=context.settings.heartbeat_seconds)
    context.tail.refuse_on_standby()
    with context.queries.held(context.tenants.tenant_of(request.scope), query.bytes):
        await context.log_state.locate(options.after, principal.grants.readable)
        lent = await context.tickets.issue(principal, query)
    body = msgspec.json.encode(Ticket(lent.secret, utc(lent.expires_at)))
    return Response(body, 201, {"cache-control": "no-store"}, JSON)


async def asked_query(request: Request, parameters: Parameters) -> Query:
    """The query of the parameters, or of the body if there is one."""
    limits = context_of(request).limits
    query = parameters.query(limits)
    if header(request.scope, b"content-length") in (b"", b"0") and not header(request.scope, b"transfer-encoding"):
        return query
    raw = await context_of(request).bodies.read_json(request)
    if raw.strip() == b"null":  # from generated clients, for a missing query
        return query
    asked = await decode_query(raw, limits)
    if query.items:
        raise InvalidRequest([FieldError("a body cannot be combined with filters", pointer="/items")])
    return asked
