"""Where the credentials of a request are: in its `Authorization`, in a cookie, or as a ticket in a stream's URL."""

from starlette.requests import Request
from starlette.types import Scope

from factwire.api.asgi import header
from factwire.api.context import Context
from factwire.api.cookies import comes_from_its_own_page, session_of
from factwire.api.following import OPTIONS, STREAMS, TICKET
from factwire.api.parameters import FILTERS, parameters_of
from factwire.domain.errors import CrossOrigin
from factwire.domain.principal import Principal


async def verified(context: Context, scope: Scope) -> Principal:
    """Who makes a request. Raises Unauthenticated, CrossOrigin, and Unavailable where nobody can tell."""
    authorization = header(scope, b"authorization")
    if not authorization:
        if scope["method"] == "GET" and scope["path"] in STREAMS and b"ticket=" in scope["query_string"]:
            return await of_ticket(context, Request(scope))
        if header(scope, b"cookie") and (secret := session_of(Request(scope))):
            return await of_session(context, Request(scope), secret)
    return await context.access.verify(authorization)


async def of_ticket(context: Context, request: Request) -> Principal:
    parameters = parameters_of(request, *FILTERS, *OPTIONS, TICKET)
    context.tail.refuse_on_standby()  # where it could not be used up
    return await context.tickets.use(parameters.values.get(TICKET, [""])[0], parameters.query())


async def of_session(context: Context, request: Request, secret: str) -> Principal:
    if not comes_from_its_own_page(request):
        raise CrossOrigin
    return await context.sessions.find(secret)
