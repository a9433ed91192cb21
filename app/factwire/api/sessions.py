"""Sessions: cookies for the explorer page, so that no script has to keep a key."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from factwire.api.http.authorization import Rule, principal_of
from factwire.api.http.context import context_of
from factwire.api.http.direct_response import JSON
from factwire.api.http.query_parameters import parameters_of
from factwire.api.http.routing import new_router
from factwire.api.http.session_cookie import is_same_origin, session_of, set_cookie
from factwire.api.openapi.operation import operation
from factwire.domain import errors
from factwire.domain.errors import CrossOrigin
from factwire.domain.fact import utc

router = new_router("access")


class Session(msgspec.Struct):
    """A session, with its principal and the time at which it ends."""

    principal: str
    expires_at: str


class EndedSession(msgspec.Struct):
    """Confirmation that the session has ended. The response also removes its cookie."""

    status: str = "ended"


@router.post(
    "/v1/session",
    **operation(
        "begin_session",
        "A session for the credentials of the request, as a cookie.",
        description="For the explorer and other pages of this origin: a script cannot read the cookie.",
        rule=Rule.READ,
        result=Session,
        result_example="session",
        status=201,
        problems=(errors.UnknownParameter, errors.Unavailable),
    ),
)
async def begin_session(request: Request) -> Response:
    principal = principal_of(request)
    parameters_of(request)
    context_of(request).tail.refuse_on_standby()
    lent = await context_of(request).sessions.begin(principal)
    cookie = set_cookie(request, lent.secret, seconds=lent.seconds)
    body = msgspec.json.encode(Session(principal.name, utc(lent.expires_at)))
    return Response(body, 201, {"set-cookie": cookie, "cache-control": "no-store"}, JSON)


@router.delete(
    "/v1/session",
    **operation(
        "end_session",
        "End the session of the cookie, with the tickets, sessions and streams that came from it.",
        description="The cookie is removed.",
        rule=Rule.OPEN,
        result=EndedSession,
        result_example="ended_session",
        problems=(errors.CrossOrigin, errors.UnknownParameter, errors.Unavailable),
    ),
)
async def end_session(request: Request) -> Response:
    parameters_of(request)
    secret = session_of(request)
    if secret is not None:
        if not is_same_origin(request):
            raise CrossOrigin
        context_of(request).tail.refuse_on_standby()
        await context_of(request).sessions.end(secret)
    headers = {"set-cookie": set_cookie(request, "", seconds=0), "cache-control": "no-store"}
    return Response(msgspec.json.encode(EndedSession()), 200, headers, JSON)
