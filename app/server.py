"""The HTTP server of one process: uvicorn with a socket of ours, guarded headers, and a drain that ends streams."""

import asyncio
import gc
import os
import signal
import socket
from types import FrameType
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.api.context import Context
from app.api.routing import Direct
from app.main import create_app
from app.settings import Settings

KEEP_ALIVE_SECONDS = 75  # longer than the idle time of common load balancers, so that they close first
FINISH_SECONDS = 25  # what is left of a usual grace period after the streams have ended

# A vanished client is noticed within 20 s, one that stopped reading holds at most 256 KiB in the kernel. The default
# would take a quarter of an hour and 4 MiB. Set on the listening socket, they are inherited by each connection.
SOCKET_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.SOL_SOCKET, socket.SO_SNDBUF, 256 * 1024),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)

DISCARDED_BYTES_MAX = 64 * 1024 * 1024

REFUSAL = (
    b"HTTP/1.1 %d %b\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
)


def bind(host: str, port: int, *, shared: bool) -> socket.socket:
    """A bound socket that does not listen yet; raises OSError naming the address.

    `shared` lets the workers of one service bind the same port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    for level, option, value in SOCKET_OPTIONS:
        bound.setsockopt(level, option, value)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from None
    return bound


def run(settings: Settings, listening: socket.socket, *, parent: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT, or until the parent process is gone."""
    app = create_app(settings)
    config = uvicorn.Config(
        Direct(app),
        http=guarded_protocol(settings),
        loop="uvloop",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=FINISH_SECONDS,
    )
    Server(config, app.state.context, parent=parent).run(sockets=[listening])


class Server(uvicorn.Server):
    """Drains before it stops: uvicorn alone waits for open streams for ever, or cuts them."""

    def __init__(self, config: uvicorn.Config, context: Context, *, parent: int | None) -> None:
        super().__init__(config)
        self._context = context
        self._parent = parent
        self._drained_by: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second SIGINT stops at once. The signal is not raised again, so that the exit code is 0."""
        if self._context.draining and sig == signal.SIGINT:
            self.should_exit = self.force_exit = True
        self._context.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second. New streams are sent away kindly for as long as the others are ending."""
        if counter == 1:
            settle_memory()
        if self._parent is not None and os.getppid() != self._parent:
            self._context.draining = True
        if self._context.draining:
            now = asyncio.get_running_loop().time()
            if self._drained_by is None:
                self._drained_by = now + self._context.settings.drain_seconds
                self._context.streams.drain()
            if self._context.streams.open == 0 or now > self._drained_by:
                return True
        return await super().on_tick(counter)


def settle_memory() -> None:
    """Take what start-up left behind out of garbage collection, which otherwise makes the tail of the latencies."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def guarded_protocol(settings: Settings) -> type[HttpToolsProtocol]:
    """The protocol with the limits of these settings."""
    limits = {"header_seconds": settings.header_seconds, "header_bytes_max": settings.header_bytes_max}
    return type("GuardedProtocol", (GuardedProtocol,), limits)


class GuardedProtocol(HttpToolsProtocol):
    """Bounds the headers of a request in time and size, which uvicorn does not."""

    header_seconds: ClassVar[float]
    header_bytes_max: ClassVar[int]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_bytes = 0
        self._in_headers = True
        self._discarded_bytes = 0
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
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
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self.header_bytes_max:
            self._refuse_size()
        else:
            super().on_headers_complete()

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
