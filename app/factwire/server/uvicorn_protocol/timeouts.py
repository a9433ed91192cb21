"""Time and size limits of a connection: uvicorn alone would wait, read and keep data without end."""

import asyncio
import fcntl
import logging
import sys
import termios
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from factwire.api.http.tenants import Tenants
from factwire.api.middleware.guards import PROBES
from factwire.domain.budget import Budget
from factwire.limits.connections import ConnectionLimiter
from factwire.server.uvicorn_protocol.small_event import SmallEvent
from factwire.server.uvicorn_protocol.upgrades import DowngradingProtocol

DISCARDED_BYTES_MAX = 64 * 1024 * 1024
TRAILER_BYTES_MAX = 8 * 1024
PIPELINED_MAX = 100
CAUSED_BY_CLIENTS = ("Invalid HTTP request received.", "Unsupported upgrade request.", "No supported WebSocket library")
PROBE_SECONDS = 1.0  # for the headers of a probe, on a connection beyond the limit
UNREAD_SECONDS = 30.0  # as long as the kernel waits for an acknowledgement of the client

REFUSAL = (
    b"HTTP/1.1 %d %b\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
)


def is_worth_logging(record: logging.LogRecord) -> bool:
    """True unless any client can make uvicorn log this message as often as it likes."""
    return not str(record.msg).startswith(CAUSED_BY_CLIENTS)


class RequestRefused(Exception):
    """Stops the parser at a request that is refused, so that no later request takes its answer."""


def unread_bytes(transport: asyncio.WriteTransport) -> int:
    """Number of bytes that a client has yet to read: in the process, and in the kernel if it reports them.

    The kernel takes more only after a third of what it holds is gone: the bytes in the process alone would not show for
    half a minute that a client reads slowly but steadily.
    """
    sock = transport.get_extra_info("socket")
    kernel = bytearray(4)
    with suppress(AttributeError, OSError, ValueError):  # it may be closed already
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, kernel)
    return transport.get_write_buffer_size() + int.from_bytes(kernel, sys.byteorder)


class PatientProtocol(DowngradingProtocol):
    """Limits the headers of a request in time and size, the data after them, and the number of connections."""

    # Without slots, these and the attributes of uvicorn would be too many for Python to share their names between
    # connections, which takes a kilobyte more per connection.
    __slots__ = (
        "_arriving_bytes",
        "_begun",
        "_discarded_bytes",
        "_guest",
        "_header_bytes",
        "_header_timer",
        "_in_headers",
        "_is_probing",
        "_refusal",
        "_rest_timer",
        "_trailer_bytes",
        "_unread_bytes",
        "_unread_held",
        "_unread_tenant",
        "_unread_timer",
    )

    header_seconds: ClassVar[float]
    header_bytes_max: ClassVar[int]
    headers_max: ClassVar[int]
    body_seconds: ClassVar[float]
    connection_limiter: ClassVar[ConnectionLimiter]
    unread: ClassVar[Budget]
    tenants: ClassVar[Tenants]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._guest: str | None = None
        self._header_bytes = 0
        self._arriving_bytes = 0
        self._begun = 0
        self._in_headers = True
        self._is_probing = False
        self._refusal = b""
        self._discarded_bytes = 0
        self._trailer_bytes = 0
        self._unread_bytes = 0
        self._unread_held = 0
        self._unread_tenant = ""
        self._header_timer: asyncio.TimerHandle | None = None
        self._rest_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection, or close it without a response: EventSource ends at an error status, but not at this."""
        super().connection_made(transport)
        is_writable = SmallEvent()
        is_writable.set()
        self.flow._is_writable_event = is_writable
        address = self.client[0] if self.client else ""
        if self.connection_limiter.admit(address):
            self._guest = address
            self._await_headers(self.header_seconds)
        elif self.connection_limiter.admit_probe():
            self._is_probing = True
            self._await_headers(PROBE_SECONDS)
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._guest is not None:
            self.connection_limiter.leave(self._guest)
            self._guest = None
        if self._is_probing:
            self.connection_limiter.release_probe()
            self._is_probing = False
        for timer in (self._header_timer, self._rest_timer, self._unread_timer):
            if timer is not None:
                timer.cancel()
        self._give_back_unread()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refusal:
            self._discard(len(data))
            return
        self._arriving_bytes += len(data)
        self._begun = 0
        was_idle = self._is_idle()
        may_begin = was_idle or self.cycle is None
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_headers:
            if self._begun <= may_begin:  # otherwise some of it belongs to earlier requests
                self._header_bytes += len(data)
            if self._header_bytes > self.header_bytes_max:
                self._refuse_size()
            else:
                self._await_headers(self.header_seconds)
        else:
            self._arriving_bytes = 0
            if self._is_idle():
                self._stay_idle(was_idle)
        self._bound_discarding(len(data))

    # Headers

    def on_message_begin(self) -> None:
        self._begun += 1
        self._in_headers = True
        self._header_bytes = self._trailer_bytes = 0
        self._unset_keepalive_if_required()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header. Headers after a body (trailers) are dropped: they have no use here."""
        if self._in_headers:
            if len(self.headers) >= self.headers_max:
                self._refuse_size()
                raise RequestRefused
            super().on_header(name, value)
            return
        self._trailer_bytes += len(name) + len(value)
        if self._trailer_bytes > TRAILER_BYTES_MAX:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._stop_timer()
        if self._headers_are_too_large():
            self._refuse_size()
            raise RequestRefused
        if self._is_probing and self.url.partition(b"?")[0].decode("ascii", "replace") not in PROBES:
            self.transport.abort()
            raise RequestRefused
        by_name = dict(self.headers)
        if not self._has_one_host(by_name):
            raise RequestRefused  # as malformed
        if len(self.pipeline) >= PIPELINED_MAX:
            self.transport.abort()  # each request takes a hundred times the memory of its bytes
        else:
            self.begin_request(by_name)

    def begin_request(self, by_name: Mapping[bytes, bytes]) -> None:
        """Continue a request after its headers have arrived; of headers with one name, `by_name` has the last."""
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:  # its task has not begun to wait
            self.cycle.message_event = SmallEvent()

    def _has_one_host(self, by_name: Mapping[bytes, bytes]) -> bool:
        """True if there is one Host header, or none in HTTP/1.0 (RFC 9112, 3.2)."""
        if b"host" not in by_name:
            return self.parser.get_http_version() < "1.1"
        return len(by_name) == len(self.headers) or [name for name, _ in self.headers].count(b"host") == 1

    def _headers_are_too_large(self) -> bool:
        """True if the headers exceed the limit; counted only if enough bytes have arrived since they began."""
        return self._arriving_bytes > self.header_bytes_max and (
            len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self.header_bytes_max
        )

    def _await_headers(self, seconds: float) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(seconds, self._refuse_time)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    # Between requests

    def _is_idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and cycle.response_complete and not self._in_headers and self._rest_timer is None

    def _stay_idle(self, was_idle: bool) -> None:
        """Resume the time limit that the bytes have ended. Bytes that begin no request do not restart it."""
        if was_idle:
            self._await_headers(self.header_seconds)
        elif self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    # The rest of a body that is not needed any more

    def on_response_complete(self) -> None:
        super().on_response_complete()
        cycle: RequestResponseCycle | None = self.cycle
        if self._refusal and not self.transport.is_closing() and (cycle is None or cycle.response_complete):
            self.transport.write(self._refusal)
            self.transport.close()
        if cycle is not None and cycle.response_complete and cycle.more_body and self._rest_timer is None:
            self._rest_timer = self.loop.call_later(self.body_seconds, self.transport.close)

    def on_message_complete(self) -> None:
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None
        super().on_message_complete()

    def _bound_discarding(self, received: int) -> None:
        """Give a client that was refused early time to read the answer, but do not read its body without end.

        Closing with unread bytes would reset the connection, and the answer could be lost on the way.
        """
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.response_complete and cycle.more_body:
            self._discard(received)

    def _discard(self, received: int) -> None:
        self._discarded_bytes += received
        if self._discarded_bytes > DISCARDED_BYTES_MAX:
            self.transport.close()

    # A client that does not read

    def pause_writing(self) -> None:
        """Count the buffer as unread. It does not grow: nothing more is written until the client has read."""
        super().pause_writing()
        self._hold_unread()
        self._await_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._give_back_unread()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _hold_unread(self) -> None:
        """Count the bytes a client has yet to read; abort the connection if its tenant has no budget for them."""
        cycle: RequestResponseCycle | None = self.cycle
        self._unread_tenant = "" if cycle is None else self.tenants.tenant_of(cycle.scope)  # type: ignore[arg-type]
        self._unread_held = self.transport.get_write_buffer_size()
        fits = self.unread.fits(self._unread_tenant, self._unread_held)
        self.unread.hold(self._unread_tenant, self._unread_held)
        if not fits:
            self.transport.abort()

    def _give_back_unread(self) -> None:
        self.unread.give_back(self._unread_tenant, self._unread_held)
        self._unread_held = 0

    def _await_reading(self) -> None:
        self._unread_bytes = unread_bytes(self.transport)
        self._unread_timer = self.loop.call_later(UNREAD_SECONDS, self._look_at_reading)

    def _look_at_reading(self) -> None:
        """Abort the connection if its client has read nothing meanwhile; a slow client has read something."""
        if unread_bytes(self.transport) >= self._unread_bytes:
            self.transport.abort()
        else:
            self._await_reading()

    # Refusing

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, b"Bad Request", b"malformed-request", b"The request is not HTTP/1.1 as it should be.")

    def _refuse_time(self) -> None:
        self._refuse(408, b"Request Timeout", b"request-timeout", b"The headers did not arrive in time.")

    def _refuse_size(self) -> None:
        self._refuse(
            431, b"Request Header Fields Too Large", b"headers-too-large", b"The headers are too large, or too many."
        )

    def _refuse(self, status: int, phrase: bytes, code: bytes, detail: bytes) -> None:
        """Refuse a request, after the answers that are due before it: earlier, it would be taken for one of them."""
        self._stop_timer()
        if self._refusal or self.transport.is_closing():
            return
        body = b'{"type":"urn:factwire:problem:%b","title":"%b","status":%d,"detail":"%b","help":"/problems/%b"}' % (
            code,
            detail,
            status,
            detail,
            code,
        )
        refusal = REFUSAL % (status, phrase, len(body), body)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete or self._is_alone_at_fault(cycle):
            self.transport.write(refusal)
            self.transport.close()
        elif cycle.more_body:
            self.transport.abort()  # that request will never have its body, nor its answer
        else:
            self._refusal = refusal

    def _is_alone_at_fault(self, cycle: RequestResponseCycle) -> bool:
        """True if the refused request is the one to be answered next, and its body is the fault."""
        return cycle.more_body and not cycle.response_started and not self.pipeline
