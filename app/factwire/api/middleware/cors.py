"""CORS: pages of the origins in the settings may call the service and read its responses.

Cookies are not accepted across origins: CORS credentials are never allowed, so that a page must send its own key,
token or ticket.
"""

from collections.abc import Callable, Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from factwire.api.http.direct_response import WRITER, ResponseWriter, header, writer_of

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS = ("Authorization", "Idempotency-Key", "If-None-Match", "Last-Event-ID", "Traceparent", "X-Request-ID")
EXPOSED_HEADERS = (
    *("Deprecation", "ETag", "Link", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "Sunset"),
    *("WWW-Authenticate", "X-Request-ID"),
)
PREFLIGHT_SECONDS = 7200  # browsers cache a preflight response for at most this time


def with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """The application with CORS for these origins; unchanged if the list is empty."""
    return CorsAnswers(app, origins) if origins else app


class CorsAnswers:
    """Middleware that adds the CORS headers, which allow or deny a page to read a response."""

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
        writer = writer_of(scope) if scope["type"] == "http" and header(scope, b"origin") else None
        if writer is not None:
            scope["state"][WRITER] = PushesOnly(writer)
        await self._app(scope, receive, send)


class PushesOnly(ResponseWriter):
    """Writer for the parts of a body only. The response head passes through `send`, so that headers can be added."""

    __slots__ = ("_writer",)

    def __init__(self, writer: ResponseWriter) -> None:
        self._writer = writer

    def watch(self, on_left: Callable[[], None], *, at_end: bool = False) -> None:
        self._writer.watch(on_left, at_end=at_end)

    def answer(self, status: int, headers: bytes, body: bytes) -> bool:
        return False

    def push(self, parts: Sequence[bytes]) -> bool:
        return self._writer.push(parts)

    def unread(self) -> int:
        return self._writer.unread()

    def has_left(self) -> bool:
        return self._writer.has_left()

    def cut(self) -> None:
        self._writer.cut()
