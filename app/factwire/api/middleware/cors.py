"""Pages of other origins (CORS): those that the settings name may call the service and read its answers.

No cookie counts across origins: credentials are never allowed, so that a page brings its own key, token or ticket.
"""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from factwire.api.http.direct_response import WRITER, ResponseWriter, header, writer_of

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
        writer = writer_of(scope) if scope["type"] == "http" and header(scope, b"origin") else None
        if writer is not None:
            scope["state"][WRITER] = PushesOnly(writer)
        await self._app(scope, receive, send)


class PushesOnly(ResponseWriter):
    """A writer for the parts of a body only: the head passes through `send`, where headers are added to it."""

    __slots__ = ("_writer",)

    def __init__(self, writer: ResponseWriter) -> None:
        self._writer = writer

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
