"""HTTP protocol of a connection: that of uvicorn, with limits, and with shortcuts that bypass ASGI."""

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from factwire.api.http.direct_response import BY_NAME, COMMENT, JSON, LEAVES_AT_END, ON_LEFT, WRITER, Shortcut, chunk
from factwire.api.http.tenants import Tenants
from factwire.domain.budget import Budget
from factwire.domain.drain import Drain
from factwire.limits.connections import ConnectionLimiter
from factwire.server.uvicorn_protocol.http10 import UnframedBody
from factwire.server.uvicorn_protocol.response_writer import ConnectionWriter, DirectResponseCycle
from factwire.server.uvicorn_protocol.timeouts import PatientProtocol
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
    drain: Drain,
) -> type[HttpToolsProtocol]:
    """Protocol class with the limits of the settings. After `drain` begins, no connection takes a second request."""
    members = {
        "header_seconds": settings.header_seconds,
        "header_bytes_max": settings.header_bytes_max,
        "headers_max": settings.headers_max,
        "body_seconds": settings.body_seconds,
        "connection_limiter": connection_limiter,
        "unread": unread,
        "tenants": tenants,
        "shortcuts": {} if shortcut is None else {(b"POST", b"/v1/facts"): shortcut},
        "drain": drain,
    }
    return type("GuardedProtocol", (GuardedProtocol,), members)


class GuardedProtocol(PatientProtocol):
    """HTTP protocol with shortcuts that bypass ASGI.

    A request for which there is a shortcut takes it if it arrives whole, body included, and has nothing unusual. It
    then needs no cycle and no task of its own, which cost as much as publishing a fact.
    """

    __slots__ = ("_body_parts", "_look_timer", "_shortcut", "_unfinished")

    shortcuts: ClassVar[Mapping[tuple[bytes, bytes], Shortcut]]
    drain: ClassVar[Drain]
    scope: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unfinished: list[RequestResponseCycle] = []
        self._shortcut: Shortcut | None = None
        self._body_parts: list[bytes] = []
        self._look_timer: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn notifies only the newest request, which may be one that waits for its turn after a stream.
        for cycle in self._unfinished:
            if not cycle.response_complete:
                cycle.disconnected = True
                if ON_LEFT in cycle.scope["state"]:
                    cycle.scope["state"][ON_LEFT]()
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
        if LEAVES_AT_END in cycle.scope["state"]:
            return False
        if not self._refusal:  # a refusal closes the connection itself
            cycle.keep_alive = False
        self._look_for_client(LOOK_SECONDS)
        return True

    def _look_for_client(self, pause_seconds: float) -> None:
        """Write a comment to each open stream, repeatedly, with growing pauses.

        A client that has left answers the first one with a reset, which the next one detects: the connection is not
        read any more.
        """
        for cycle in self._unfinished:
            if COMMENT in cycle.scope["state"]:
                ConnectionWriter(cycle).push(chunk(cycle.scope["state"][COMMENT]))
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
        self.cycle = request = DirectResponseCycle(self, b"".join(self._body_parts))
        self._body_parts.clear()
        shortcut(request)

    def _begin_cycle(self, by_name: Mapping[bytes, bytes]) -> None:
        super().begin_request(by_name)
        self.scope["state"][WRITER] = ConnectionWriter(self.cycle)
        self._unfinished.append(self.cycle)
        if self.drain.begun or self._is_probing:
            self.leave()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["http_version"] < "1.1":
            cycle.keep_alive = False
            app = UnframedBody(app, cycle)
        super()._start_asgi_task(cycle, app)

    def leave(self) -> None:
        """Announce in every further answer that the connection closes after it, so that the client goes elsewhere."""
        for cycle in (*self._unfinished, self.cycle):
            if cycle is not None:
                cycle.keep_alive = False

    def on_response_complete(self) -> None:
        for cycle in self._unfinished:
            if cycle.response_complete:
                # Cycle, scope and writer refer to each other: only a garbage collection would free them.
                del cycle.scope["state"][WRITER]
        if self._unfinished:
            self._unfinished = [cycle for cycle in self._unfinished if not cycle.response_complete]
        super().on_response_complete()

    def _find_shortcut(self, by_name: Mapping[bytes, bytes]) -> Shortcut | None:
        method, path = self.parser.get_method(), self.url
        shortcut = self.shortcuts.get((method, path))
        if (
            shortcut is None
            or len(by_name) != len(self.headers)
            or by_name.get(b"content-type") != JSON.encode()
            or b"idempotency-key" in by_name  # its ids are computed with a secret from the database
            or b"origin" in by_name  # from a web page: the answer may need CORS headers
            or self.expect_100_continue
            or self.parser.get_http_version() != "1.1"
            or not self.parser.should_keep_alive()
            or self.parser.should_upgrade()
            or self.flow.write_paused
            or self._is_answering()
        ):
            return None
        # uvicorn sets them for requests on the ASGI path only.
        self.scope["method"], self.scope["path"] = method.decode(), path.decode()
        self.scope[BY_NAME] = by_name
        return shortcut if shortcut.accepts(self.scope) else None

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _take_the_long_way(self) -> None:
        """Move a request to the ASGI path if its body continues in another packet: its wait is limited there."""
        self._shortcut = None
        self._begin_cycle(dict(self.headers))
        for part in self._body_parts:
            super().on_body(part)
        self._body_parts.clear()

    def _is_idle(self) -> bool:
        return self._shortcut is None and super()._is_idle()
