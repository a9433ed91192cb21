"""The HTTP protocol of a connection: uvicorn's, bounded, and with shorter ways to answer."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from factwire.api.http.direct_response import COMMENT, JSON, OUTLET, Shortcut, body_of, chunk
from factwire.api.http.tenants import Tenants
from factwire.domain.budget import Budget
from factwire.limits.connections import ConnectionLimiter
from factwire.server.http10 import UnframedBody
from factwire.server.timeouts import PatientProtocol, unread_bytes
from factwire.settings import Settings

LOOK_SECONDS = 0.05
LOOK_SECONDS_MAX = 10.0


def guarded_protocol(
    settings: Settings,
    shortcut: Shortcut | None,
    connection_limiter: ConnectionLimiter,
    *,
    unread: Budget,
    tenants: Tenants,
    draining: Callable[[], bool],
) -> type[HttpToolsProtocol]:
    """The protocol with the limits of these settings. While it is `draining`, no connection takes a second request."""
    members = {
        "header_seconds": settings.header_seconds,
        "header_bytes_max": settings.header_bytes_max,
        "headers_max": settings.headers_max,
        "body_seconds": settings.body_seconds,
        "connection_limiter": connection_limiter,
        "unread": unread,
        "tenants": tenants,
        "shortcuts": {} if shortcut is None else {(b"POST", b"/v1/facts"): shortcut},
        "draining": staticmethod(draining),
    }
    return type("GuardedProtocol", (GuardedProtocol,), members)


class GuardedProtocol(PatientProtocol):
    """Answers on shorter ways.

    A request for which there is a shortcut takes it if it arrives whole, body included, and nothing about it is out of
    the ordinary: without a cycle and a task of its own, which cost as much as publishing a fact does.
    """

    __slots__ = ("_body_parts", "_look_timer", "_shortcut", "_unfinished")

    shortcuts: ClassVar[Mapping[tuple[bytes, bytes], Shortcut]]
    scope: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unfinished: list[RequestResponseCycle] = []
        self._shortcut: Shortcut | None = None
        self._body_parts: list[bytes] = []
        self._look_timer: asyncio.TimerHandle | None = None

    @staticmethod
    def draining() -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn tells only the newest request, which may be one that waits for its turn behind a stream.
        for cycle in self._unfinished:
            if not cycle.response_complete:
                cycle.disconnected = True
            cycle.message_event.set()
        if self._look_timer is not None:
            self._look_timer.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep a half-closed connection open while an answer is due: its client may only have finished sending.

        Over TLS it is closed: there the event loop has no half-closed connections.
        """
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body or self.scheme == "https":
            return False
        if not self._refusal:  # which closes by itself
            cycle.keep_alive = False
        self._look_for_client(LOOK_SECONDS)
        return True

    def _look_for_client(self, pause_seconds: float) -> None:
        """Write a comment to each open stream, again and again at growing pauses.

        A client that has left answers the first one with a reset, which the next one finds: nothing is read any more.
        """
        for cycle in self._unfinished:
            if COMMENT in cycle.scope["state"]:
                Outlet(cycle).push(chunk(cycle.scope["state"][COMMENT]))
        if pause_seconds < LOOK_SECONDS_MAX:
            self._look_timer = self.loop.call_later(pause_seconds, self._look_for_client, 2 * pause_seconds)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._shortcut is not None and not self.transport.is_closing():
            self._take_the_long_way()

    def begin_request(self, by_name: Mapping[bytes, bytes]) -> None:
        self._shortcut = self._find_shortcut(by_name)
        if self._shortcut is None and not self.parser.should_upgrade():
            self._begin_cycle(by_name)

    def on_body(self, body: bytes) -> None:
        if self._shortcut is None:
            super().on_body(body)
        else:
            self._body_parts.append(body)

    def on_message_complete(self) -> None:
        if self._shortcut is None:
            super().on_message_complete()
            return
        shortcut, self._shortcut = self._shortcut, None
        self.cycle = exchange = Exchange(self, b"".join(self._body_parts))
        self._body_parts.clear()
        shortcut(exchange)

    def _begin_cycle(self, by_name: Mapping[bytes, bytes]) -> None:
        super().begin_request(by_name)
        self.scope["state"][OUTLET] = Outlet(self.cycle)
        self._unfinished.append(self.cycle)
        if self.draining() or self._is_probing:
            self.leave()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["http_version"] < "1.1":
            cycle.keep_alive = False
            app = UnframedBody(app, cycle)
        super()._start_asgi_task(cycle, app)

    def leave(self) -> None:
        """Let every answer from here on say that the connection closes behind it, so that its client goes elsewhere."""
        for cycle in (*self._unfinished, self.cycle):
            if cycle is not None:
                cycle.keep_alive = False

    def on_response_complete(self) -> None:
        for cycle in self._unfinished:
            if cycle.response_complete:
                # Cycle, scope and outlet hold each other: garbage that only a collection would find.
                del cycle.scope["state"][OUTLET]
        if self._unfinished:
            self._unfinished = [cycle for cycle in self._unfinished if not cycle.response_complete]
        super().on_response_complete()

    def _find_shortcut(self, by_name: Mapping[bytes, bytes]) -> Shortcut | None:
        shortcut = self.shortcuts.get((self.parser.get_method(), self.url))
        if (
            shortcut is None
            or len(by_name) != len(self.headers)
            or by_name.get(b"content-type") != JSON.encode()
            or b"origin" in by_name  # a page asks, and may have to be told that it may read the answer
            or self.expect_100_continue
            or self.parser.get_http_version() != "1.1"
            or not self.parser.should_keep_alive()
            or self.parser.should_upgrade()
            or self.flow.write_paused
            or self._is_answering()
            or not shortcut.accepts(self.scope, by_name)
        ):
            return None
        return shortcut

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _take_the_long_way(self) -> None:
        """The body goes on in another packet: what is under way is what waits and is bounded as such."""
        self._shortcut = None
        self._begin_cycle(dict(self.headers))
        for part in self._body_parts:
            super().on_body(part)
        self._body_parts.clear()

    def _is_idle(self) -> bool:
        return self._shortcut is None and super()._is_idle()


class Exchange(RequestResponseCycle):
    """A request that took its shortcut, in the place of its cycle as far as the protocol asks for that."""

    scope: Any

    message_event = asyncio.Event()  # nobody waits for it

    def __init__(self, protocol: GuardedProtocol, whole_body: bytes) -> None:
        self._protocol = protocol
        self.scope = protocol.scope
        self.whole_body = whole_body
        self.keep_alive = not protocol.draining()
        self.disconnected = False
        self.more_body = False
        self.response_complete = False

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        """Write the one answer, with header lines that need no check, unless nobody is there any more."""
        if self.response_complete:
            return
        self.response_complete = True
        transport = self._protocol.transport
        if not transport.is_closing():
            lines = [b"%b: %b\r\n" % default for default in self._protocol.server_state.default_headers]
            if not self.keep_alive:
                lines.append(b"connection: close\r\n")
            transport.write(b"".join([STATUS_LINE[status], *lines, headers, b"\r\n", body]))
            if not self.keep_alive:
                transport.close()
        self._protocol.on_response_complete()


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
        """Write a chunk of a body that goes on, framed as such; whether it was written, or nobody is there any more.

        HTTP/1.0 gets it without its frame.
        """
        cycle = self._cycle
        if cycle.flow.write_paused or cycle.chunked_encoding is None:
            return False
        if not cycle.disconnected and not cycle.transport.is_closing():
            cycle.transport.writelines(parts if cycle.chunked_encoding else [body_of(parts)])
        return True

    def unread(self) -> int:
        """What the client has yet to read of this and of all before."""
        return unread_bytes(self._cycle.transport)

    def cut(self) -> None:
        """End the connection in the middle of the response."""
        self._cycle.disconnected = True
        self._cycle.transport.abort()

    def has_left(self) -> bool:
        """Whether the connection is closed by its client. One that has only finished sending has not left."""
        return self._cycle.disconnected
