"""Request ids: each request has an id, in its response and in every log line about it, and optionally a log line."""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from itertools import count
from secrets import token_hex

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from factwire.api.http.direct_response import ADDED, REQUEST_ID, STATUS, header
from factwire.api.http.problems import PROBLEM, problem_response
from factwire.api.http.published_positions import principal_name, take_published
from factwire.domain.errors import Unavailable
from factwire.limits.client_address import Proxies
from factwire.telemetry.logs import request_id

log = logging.getLogger(__name__)

GIVEN = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


# For one year a browser sends requests over TLS only (HSTS, RFC 6797). It does not keep this for IP addresses.
SECURE = ((b"strict-transport-security", b"max-age=31536000"),)


def is_localhost(host: bytes) -> bool:
    """True for loopback names: a browser would apply HSTS to every other server on its own machine too."""
    name = host.partition(b":")[0].lower()
    return name == b"localhost" or name.endswith(b".localhost")


class RequestIds:
    """Source of request ids, from `X-Request-ID` or new, and of the headers that every response gets."""

    def __init__(self, *, own_tls: bool) -> None:
        # Unique without a random number for each request: this runs for every publish.
        self._process = token_hex(6).encode()
        self._numbers = count(1)
        self._own_tls = own_tls

    def begin(self, scope: Scope) -> bytes:
        """Choose the id of a request, and store it in the scope."""
        given = header(scope, b"x-request-id")
        id = given if given and GIVEN.fullmatch(given) else b"%b-%x" % (self._process, next(self._numbers))
        scope["state"][REQUEST_ID] = id
        if self._own_tls and not is_localhost(header(scope, b"host")):
            scope["state"][ADDED] = SECURE
        return id


class RequestIdMiddleware:
    """Middleware that gives each request its id while it is handled, and its line in the log."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        ids: RequestIds,
        logged: bool,
        proxies: Proxies,
        on_problem: Callable[[str], None] = lambda code: None,
    ) -> None:
        self._app = app
        self._logged = logged
        self._proxies = proxies
        self._on_problem = on_problem
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        id, state = self._ids.begin(scope), scope["state"]
        request_id.set(id.decode())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                state[STATUS] = message["status"]
                if PROBLEM in state:
                    self._on_problem(state[PROBLEM])
                message["headers"] = [*message["headers"], (b"x-request-id", id), *state.get(ADDED, ())]
            await send(message)

        if not self._logged:
            await self._answer(scope, receive, send_with_id)
            return
        began_at = time.perf_counter()
        try:
            await self._answer(scope, receive, send_with_id)
        finally:
            log_request(scope, self._proxies.address_of(scope), time.perf_counter() - began_at)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            # The server's shutdown period is over. A publisher has already received the problem "outcome unknown".
            if STATUS in scope["state"]:
                raise
            await problem_response(Unavailable("The service stopped before it could answer."))(scope, receive, send)


def log_request(scope: Scope, address: str, seconds: float) -> None:
    """Log one line about a finished request, with its principal and the positions that it published.

    The query string is left out, since it can contain secrets. The path is logged as it was sent: decoded, it could
    contain a line break, and so a log line forged by the client.
    """
    method, path = scope["method"], scope["raw_path"].decode("ascii", "backslashreplace")
    status, milliseconds = scope["state"].get(STATUS, 0), round(seconds * 1000, 1)
    principal, published = principal_name(scope), take_published(scope)
    fields = {
        "address": address,
        "principal": principal,
        "method": method,
        "path": path,
        "status": status,
        "milliseconds": milliseconds,
        **({"published": published} if published else {}),
    }
    end = f", published {published}" if published else ""
    log.info("%s %s %s %s %d %s ms%s", address, principal, method, path, status, milliseconds, end, extra=fields)
