"""The HTTP protocol of a connection: uvicorn's, with bounded headers, and with a shorter way to write."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.api.asgi import OUTLET
from app.settings import Settings

DISCARDED_BYTES_MAX = 64 * 1024 * 1024

REFUSAL = (
    b"HTTP/1.1 %d %b\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
)


def guarded_protocol(settings: Settings, *, draining: Callable[[], bool]) -> type[HttpToolsProtocol]:
    """The protocol with the limits of these settings. While it is `draining`, no connection takes a second request."""
    members = {
        "header_seconds": settings.header_seconds,
        "header_bytes_max": settings.header_bytes_max,
        "draining": staticmethod(draining),
    }
    return type("GuardedProtocol", (GuardedProtocol,), members)


class GuardedProtocol(HttpToolsProtocol):
    """Bounds the headers of a request in time and size, which uvicorn does not."""

    header_seconds: ClassVar[float]
    header_bytes_max: ClassVar[int]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_bytes = 0
        self._arriving_bytes = 0
        self._in_headers = True
        self._discarded_bytes = 0
        self._header_timer: asyncio.TimerHandle | None = None
        self._unfinished: list[RequestResponseCycle] = []

    @staticmethod
    def draining() -> bool:
        return False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        # uvicorn tells only the newest request, which may be one that waits for its turn behind a stream.
        for cycle in self._unfinished:
            if not cycle.response_complete:
                cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._arriving_bytes = len(data)
        super().data_received(data)
        if self._in_headers and not self.transport.is_closing():
            self._header_bytes += len(data)
            if self._header_bytes > self.header_bytes_max:
                self._refuse_size()
            elif self._header_timer is None:
                self._await_headers()

        self._bound_discarding(len(data))

    def _bound_discarding(self, received: int) -> None:
        """Give a client that was refused early the time to read why, but do not read its body for ever.

        Closing with unread bytes would reset the connection, and the answer could be lost on the way.
        """
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.response_complete and cycle.more_body:
            self._discarded_bytes += received
            if self._discarded_bytes > DISCARDED_BYTES_MAX:
                self.transport.close()

    def on_message_begin(self) -> None:
        self._in_headers = True
        self._header_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._stop_timer()
        if self._headers_are_too_large():
            self._refuse_size()
        else:
            super().on_headers_complete()
            self.scope["state"][OUTLET] = Outlet(self.cycle)
            self._unfinished = [cycle for cycle in self._unfinished if not cycle.response_complete]
            self._unfinished.append(self.cycle)
            if self.draining():
                self.leave()

    def leave(self) -> None:
        """Let every answer from here on say that the connection closes behind it, so that its client goes elsewhere."""
        for cycle in self._unfinished:
            cycle.keep_alive = False

    def _headers_are_too_large(self) -> bool:
        """Whether they are, counted only where so much has arrived that they could be."""
        return self._header_bytes + self._arriving_bytes > self.header_bytes_max and (
            len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self.header_bytes_max
        )

    def _await_headers(self) -> None:
        self._header_timer = self.loop.call_later(self.header_seconds, self._refuse_time)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _refuse_time(self) -> None:
        self._refuse(408, b"Request Timeout", b"request-timeout", b"The headers did not arrive in time.")

    def _refuse_size(self) -> None:
        self._refuse(431, b"Request Header Fields Too Large", b"headers-too-large", b"The headers are too large.")

    def _refuse(self, status: int, phrase: bytes, code: bytes, detail: bytes) -> None:
        self._stop_timer()
        if not self.transport.is_closing():
            body = b'{"type":"urn:factwire:problem:%b","title":"%b","status":%d,"detail":"%b"}' % (
                code,
                detail,
                status,
                detail,
            )
            self.transport.write(REFUSAL % (status, phrase, len(body), body))
            self.transport.close()


class Outlet:
    """Writes the response of one request without the way through ASGI.

    ASGI splits a response into a head and parts of a body, each of which is checked, copied and written by itself. Here
    a whole answer is one write, and what many streams get is put into its chunk once for all of them.
    """

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    def answer(self, status: int, headers: bytes, body: bytes) -> bool:
        """Write a whole answer, with header lines that need no check; whether it was written."""
        cycle = self._cycle
        if not cycle.keep_alive or cycle.response_started or cycle.flow.write_paused or cycle.transport.is_closing():
            return False
        lines = [b"%b: %b\r\n" % default for default in cycle.default_headers]
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"".join([STATUS_LINE[status], *lines, headers, b"\r\n", body]))
        cycle.message_event.set()
        cycle.on_response()
        return True

    def push(self, parts: Sequence[bytes]) -> bool:
        """Write a chunk of a body that goes on, framed as such; whether it was written, or nobody is there any more."""
        cycle = self._cycle
        if cycle.flow.write_paused or not cycle.chunked_encoding:
            return False
        if not cycle.disconnected and not cycle.transport.is_closing():
            cycle.transport.writelines(parts)
        return True
