"""HTTP server of one process: uvicorn with its own listening socket, and a drain that ends streams."""

import asyncio
import errno
import gc
import logging
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn

from factwire.api.http.context import Context
from factwire.api.http.routing import DirectRouting
from factwire.api.middleware.cors import with_cors
from factwire.api.middleware.guards import GuardMiddleware, guards_of
from factwire.api.middleware.request_id import RequestIdMiddleware, RequestIds
from factwire.composition.application import create_app
from factwire.limits.client_address import Proxies
from factwire.limits.connections import ConnectionLimiter
from factwire.limits.quotas import quotas_of
from factwire.server.fast_publish import FastPublish
from factwire.server.tls import certificate_of
from factwire.server.uvicorn_protocol.protocol import GuardedProtocol, guarded_protocol
from factwire.server.uvicorn_protocol.timeouts import is_worth_logging
from factwire.settings import Settings
from factwire.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

OTHER_CONNECTIONS = 800  # requests that are not streams
OTHER_FILES = 200  # connections to the database, and a few files
KEPT_BLOCK_BYTES = 4 * 1024 * 1024
READY_POLL_SECONDS = 0.01
FINISH_SECONDS = 25  # rest of a usual grace period after the streams have ended

# A vanished client is detected within 20 s, and one that stopped reading holds at most 256 KiB in the kernel. With the
# defaults it would be a quarter of an hour and 4 MiB. Each connection inherits the options of the listening socket.
SOCKET_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.SOL_SOCKET, socket.SO_SNDBUF, 256 * 1024),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)


def bind(host: str, port: int, *, shared: bool) -> socket.socket:
    """Bind a socket that does not listen yet. Raises OSError with the address.

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
        hint = " (FACTWIRE_PORT names another)" if error.errno == errno.EADDRINUSE else ""
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}{hint}") from None
    return bound


def run(
    settings: Settings,
    listening: socket.socket,
    *,
    parent: int | None = None,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, or until the parent process is gone.

    `on_ready` is called once, in a thread, when requests are served.
    """
    app = create_app(settings)
    context: Context = app.state.context
    proxies = Proxies(settings.proxies, header=settings.forwarded_header)
    quotas = quotas_of(settings, "address")
    guards = guards_of(settings, proxies=proxies, quotas=quotas)
    ids = RequestIds(own_tls=settings.tls_certificate_file is not None)
    limited = quotas is not None or context.quotas is not None
    is_watched = limited or settings.log_requests or settings.tracing
    shortcut = None if is_watched else FastPublish(context, guards, ids)
    connection_limiter = connection_limiter_of(settings, proxies)
    measure(connection_limiter, context.metrics)
    certificate = certificate_of(settings)
    tls = certificate.renewed_context() if certificate else None
    config = uvicorn.Config(
        RequestIdMiddleware(
            with_cors(
                GuardMiddleware(DirectRouting(app), guards, context.returns, counts_bodies=quotas is not None),
                settings.origins,
            ),
            ids=ids,
            logged=settings.log_requests,
            proxies=proxies,
            on_problem=context.metrics.request_refused,
        ),
        http=guarded_protocol(
            settings,
            shortcut,
            connection_limiter,
            unread=context.unread,
            tenants=context.tenants,
            drain=context.tail.drain,
        ),
        ssl_context_factory=None if tls is None else lambda config, default: tls,
        ws="none",
        loop="uvloop" if tls is None else "factwire.server.tls:ImpatientLoop",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.keep_alive_seconds,  # type: ignore[arg-type]  # passed to call_later
        timeout_graceful_shutdown=FINISH_SECONDS,
    )
    logging.getLogger("uvicorn.error").addFilter(is_worth_logging)
    DrainingServer(config, context, parent=parent, on_ready=on_ready).run(sockets=[listening])


def connection_limiter_of(settings: Settings, proxies: Proxies) -> ConnectionLimiter:
    needed_connections = settings.connections_max or settings.streams_max + OTHER_CONNECTIONS
    return ConnectionLimiter(
        connections_max=raise_open_files_limit(needed_connections),
        address_connections_max=settings.address_connections_max,
        proxies=proxies,
    )


def measure(connection_limiter: ConnectionLimiter, metrics: Metrics) -> None:
    metrics.gauge("factwire_open_connections", "Open connections of clients.", lambda: connection_limiter.open)
    metrics.gauge(
        "factwire_refused_connections",
        "Connections that were refused because of a limit.",
        lambda: connection_limiter.refused,
    )


class DrainingServer(uvicorn.Server):
    """Server that drains before it stops: uvicorn alone waits for open streams without end, or cuts them."""

    def __init__(
        self, config: uvicorn.Config, context: Context, *, parent: int | None, on_ready: Callable[[], None] | None
    ) -> None:
        super().__init__(config)
        self._context = context
        self._parent = parent
        self._on_ready = on_ready
        self._drained_by: float | None = None
        self._announcing: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self._on_ready is not None:
            self._announcing = asyncio.create_task(asyncio.to_thread(self._announce, self._on_ready))

    def _announce(self, on_ready: Callable[[], None]) -> None:
        while not self._context.schema_seen:
            if self._context.tail.drain.begun:
                return
            time.sleep(READY_POLL_SECONDS)
        on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second SIGINT stops at once. The signal is not raised again, so the exit code is 0."""
        if self._context.tail.drain.begun and sig == signal.SIGINT:
            self.should_exit = self.force_exit = True
        self._context.tail.drain.begin()

    async def on_tick(self, counter: int) -> bool:
        """Check the drain, ten times a second. During it, new streams get a clean end with a retry delay."""
        if counter == 1:
            settle_memory()
        if self._parent is not None and os.getppid() != self._parent:
            self._context.tail.drain.begin()
        if self._context.tail.drain.begun:
            now = asyncio.get_running_loop().time()
            if self._drained_by is None:
                self._drained_by = now + self._context.settings.drain_seconds
                self._context.streams.drain()
                self._context.subscriptions.drain()
                for connection in self.server_state.connections:
                    if isinstance(connection, GuardedProtocol):
                        connection.leave()
            if self._context.streams.open == 0 or now > self._drained_by:
                self._context.returns.release()
                return True
        return await super().on_tick(counter)


def raise_open_files_limit(connections_max: int) -> int:
    """Raise the limit of file descriptors as needed; the usual limit is for programs with few connections.

    Returns how many connections fit: a connection without a descriptor waits, and blocks those after it.
    """
    needed = connections_max + OTHER_FILES
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = needed if most == resource.RLIM_INFINITY else min(needed, most)
    if limit != resource.RLIM_INFINITY and limit < allowed:
        with suppress(OSError, ValueError):  # some systems report a maximum and refuse it
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
            limit = allowed
    if limit != resource.RLIM_INFINITY and limit < needed:
        log.warning("%d files may be open; %d connections need %d", limit, connections_max, needed)
        return max(1, limit - OTHER_FILES)
    return connections_max


def settle_memory() -> None:
    """Exclude objects of the start-up from garbage collection, which otherwise causes the tail of the latencies.

    Freeing a large block keeps glibc from returning the memory of each page of history; see KEEP_MEMORY of the store.
    """
    bytes(KEPT_BLOCK_BYTES)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
