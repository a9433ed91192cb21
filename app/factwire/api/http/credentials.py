"""Credentials of a request: in its `Authorization`, in a session cookie, or as a ticket in a stream's URL."""

from starlette.requests import Request
from starlette.types import Scope

from factwire.api.http.context import Context
from factwire.api.http.direct_response import header
from factwire.api.http.query_parameters import FILTERS, parameters_of
from factwire.api.http.session_cookie import is_same_origin, session_of
from factwire.api.http.stream_options import OPTIONS, STREAMS, TICKET
from factwire.domain.errors import CrossOrigin
from factwire.domain.principal import Principal


async def authenticate(context: Context, scope: Scope) -> Principal:
    """Principal of a request. Raises Unauthenticated, CrossOrigin, and Unavailable if it cannot be verified now."""
    authorization = header(scope, b"authorization")
    if not authorization:
        if scope["method"] == "GET" and scope["path"] in STREAMS and b"ticket=" in scope["query_string"]:
            return await authenticate_ticket(context, Request(scope))
        if header(scope, b"cookie") and (secret := session_of(Request(scope))):
            return await authenticate_session(context, Request(scope), secret)
    return await context.access.verify(authorization)


async def authenticate_ticket(context: Context, request: Request) -> Principal:
    parameters = parameters_of(request, *FILTERS, *OPTIONS, TICKET)
    context.tail.refuse_on_standby()  # a standby cannot record that the ticket was used
    return await context.tickets.use(parameters.values.get(TICKET, [""])[0], parameters.query(context.limits))


async def authenticate_session(context: Context, request: Request, secret: str) -> Principal:
    if not is_same_origin(request):
        raise CrossOrigin
    return await context.sessions.find(secret)
