"""Pages of other origins (CORS): those that the settings name may call the service and read its answers.

No cookie counts across origins: credentials are never allowed, so that a page brings its own key, token or ticket.
"""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from factwire.api.http.direct_response import OUTLET, Outlet, header, outlet_of

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS = ("Authorization", "If-None-Match", "Last-Event-ID", "Traceparent", "X-Request-ID")
EXPOSED_HEADERS = ("ETag", "Link", "Location", "Retry-After", "WWW-Authenticate", "X-Request-ID")
PREFLIGHT_SECONDS = 7200  # more than this no browser keeps


def with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """The application as pages of these origins may use it; itself where there are none."""
    return CorsAnswers(app, origins) if origins else app


class CorsAnswers:
    """Adds to each answer whether the page that asked may read it."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = CORSMiddleware(
            app,
            allow_origins=tuple(origins),
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=EXPOSED_HEADERS,
            max_age=PREFLIGHT_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outlet = outlet_of(scope) if scope["type"] == "http" and header(scope, b"origin") else None
        if outlet is not None:
            scope["state"][OUTLET] = PushesOnly(outlet)
        await self._app(scope, receive, send)


class PushesOnly(Outlet):
    """An outlet for the parts of a body only: the head passes through `send`, where headers are added to it."""

    __slots__ = ("_outlet",)

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet

    def answer(self, status: int, headers: bytes, body: bytes) -> bool:
        return False

    def push(self, parts: Sequence[bytes]) -> bool:
        return self._outlet.push(parts)

    def unread(self) -> int:
        return self._outlet.unread()

    def has_left(self) -> bool:
        return self._outlet.has_left()

    def cut(self) -> None:
        self._outlet.cut()
