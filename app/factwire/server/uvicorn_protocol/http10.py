"""Responses to HTTP/1.0, which has no chunks: the end of the connection ends a body without a length (RFC 9112 6.3)."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

WITHOUT_BODY = (204, 304)


class UnframedBody:
    """ASGI application of one request that writes a response body without chunks, unless the body has a length."""

    def __init__(self, app: ASGIApp, cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle = cycle
        self._unframed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_unframed(message: Message) -> None:
            self._prepare(message)
            await send(message)

        await self._app(scope, receive, send_unframed)

    def _prepare(self, message: Message) -> None:
        """Make uvicorn treat each part of the body as one of declared length."""
        cycle = self._cycle
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            has_body = cycle.scope["method"] != "HEAD" and message["status"] not in WITHOUT_BODY
            self._unframed = has_body and b"content-length" not in names
            if self._unframed:
                cycle.chunked_encoding = False
        elif message["type"] == "http.response.body" and self._unframed:
            cycle.expected_content_length = len(message.get("body", b""))
