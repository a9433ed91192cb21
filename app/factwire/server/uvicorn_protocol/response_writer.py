"""Response writers that bypass ASGI: OneAnswerCycle for requests that arrived whole, ConnectionWriter for others."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
from uvicorn.server import ServerState

from factwire.api.http.direct_response import LEAVES_AT_END, ON_LEFT, body_of, header_lines
from factwire.domain.drain import Drain
from factwire.server.uvicorn_protocol.timeouts import unread_bytes


class DrainingProtocol(Protocol):
    """The parts of a connection's protocol that the answer of a whole request needs."""

    scope: Any
    drain: ClassVar[Drain]
    transport: asyncio.Transport
    server_state: ServerState

    def on_response_complete(self) -> None: ...


class DirectResponseCycle(RequestResponseCycle):
    """Request that took its shortcut; replaces the cycle of uvicorn as far as the protocol needs one."""

    scope: Any
    whole_body: bytes

    message_event = asyncio.Event()  # no task waits for it

    def __init__(self, protocol: "DrainingProtocol", whole_body: bytes) -> None:
        self._protocol = protocol
        self.scope = protocol.scope
        self.whole_body = whole_body
        self.keep_alive = not protocol.drain.begun
        self.disconnected = False
        self.more_body = False
        self.response_complete = False

    def answer(self, status: int, headers: bytes, body: bytes) -> bool:
        """Write the one answer, with header lines that need no check. False if the client has left."""
        if self.response_complete:
            return False
        self.response_complete = True
        transport = self._protocol.transport
        if not transport.is_closing():
            defaults = self._protocol.server_state.default_headers
            write_response(transport, defaults, status, headers, body, keep_alive=self.keep_alive)
            if not self.keep_alive:
                transport.close()
        self._protocol.on_response_complete()
        return True


def write_response(
    transport: asyncio.Transport,
    default_headers: list[tuple[bytes, bytes]],
    status: int,
    headers: bytes,
    body: bytes,
    *,
    keep_alive: bool = True,
) -> None:
    """Write a whole response at once: it is small, so one system call is enough."""
    closing = b"" if keep_alive else b"connection: close\r\n"
    transport.write(b"".join([STATUS_LINE[status], header_lines(default_headers), closing, headers, b"\r\n", body]))


class ConnectionWriter:
    """Writes the response of one request without ASGI.

    ASGI splits a response into a head and body parts, and each part is checked, copied and written separately. Here a
    whole answer is one write, and data for many streams is put into its chunk once for all of them.
    """

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    def watch(self, on_left: Callable[[], None], *, at_end: bool = False) -> None:
        """Call back when the client closes the connection before the response is complete.

        With `at_end`, a client that only closes its own half from now on has left too. Its kernel sends the same when
        it has closed both, and so the difference would show only when something is written.
        """
        self._cycle.scope["state"][ON_LEFT] = on_left
        if at_end:
            self._cycle.scope["state"][LEAVES_AT_END] = True
        if self.has_left():
            on_left()

    def answer(self, status: int, headers: bytes, body: bytes) -> bool:
        """Write a whole answer, with header lines that need no check. True if it was written."""
        cycle = self._cycle
        if not cycle.keep_alive or cycle.response_started or cycle.flow.write_paused or cycle.transport.is_closing():
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        write_response(cycle.transport, cycle.default_headers, status, headers, body)
        cycle.message_event.set()
        cycle.on_response()
        return True

    def push(self, parts: Sequence[bytes]) -> bool:
        """Write a framed chunk of a body that continues. True if it was written, or if the client has left.

        HTTP/1.0 gets it without the frame.
        """
        cycle = self._cycle
        if cycle.flow.write_paused or cycle.chunked_encoding is None:
            return False
        if not cycle.disconnected and not cycle.transport.is_closing():
            cycle.transport.writelines(parts if cycle.chunked_encoding else [body_of(parts)])
        return True

    def unread(self) -> int:
        """Number of bytes that the client has yet to read, of this response and all before it."""
        return unread_bytes(self._cycle.transport)

    def cut(self) -> None:
        """End the connection in the middle of the response."""
        self._cycle.disconnected = True
        self._cycle.transport.abort()

    def has_left(self) -> bool:
        """True if the client closed the connection. A client that has only finished sending has not left."""
        return self._cycle.disconnected
