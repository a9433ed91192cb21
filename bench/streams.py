"""Many open streams in one process, counting facts in raw bytes."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from bench.client import Unexpected
from bench.facts import FACT_MARKER, request_bytes

_CAUGHT_UP = b"event: caught-up"
_OPENING_AT_ONCE = 100
_OPEN_SECONDS_MAX = 60.0
_OVERLAP = len(FACT_MARKER) - 1


class Reading(asyncio.Protocol):
    """One stream; `following` is done after `caught-up`.

    `chunk_received` sees every chunk of bytes, chunked framing included; `facts` and `tail` are its own, for what it
    has counted and for the last bytes, which may hold the start of what it looks for.
    """

    def __init__(self, request: bytes, chunk_received: Callable[["Reading", bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        self.following: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.facts = 0
        self.tail = b""
        self._chunk_received = chunk_received
        self._request = request
        self._start = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.following.done():
            self._look_for_caught_up(data)
        self._chunk_received(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.following.done():
            self.following.set_exception(Unexpected(f"a stream ended before it followed: {self._start!r} {exc}"))
        if not self.ended.done():
            self.ended.set_result(None)

    def close(self) -> None:
        self._transport.abort()

    def _look_for_caught_up(self, data: bytes) -> None:
        # Only the newest bytes are kept: history of any length may come before the event.
        self._start = self._start[-4096:] + data
        if _CAUGHT_UP in self._start:
            self.following.set_result(None)
            self._start = b""


class Counting:
    """Counts the facts of all streams together; a marker that is split between two chunks is counted once."""

    def __init__(self) -> None:
        self.facts = 0

    def __call__(self, stream: Reading, chunk: bytes) -> None:
        seen = stream.tail + chunk
        stream.tail = seen[-_OVERLAP:]
        found = seen.count(FACT_MARKER)
        stream.facts += found
        self.facts += found


async def open_streams(
    port: int,
    count: int,
    chunk_received: Callable[[Reading, bytes], None],
    *,
    target: str = "/v1/stream?after=head",
    at_once: int = _OPENING_AT_ONCE,
) -> list[Reading]:
    """So many streams, all past their `caught-up`. `{stream}` in the target is the number of each."""
    streams: list[Reading] = []
    async with asyncio.timeout(_OPEN_SECONDS_MAX):
        while len(streams) < count:
            batch = min(at_once, count - len(streams))
            opened = await asyncio.gather(
                *(_open(port, target.format(stream=len(streams) + more), chunk_received) for more in range(batch))
            )
            streams.extend(opened)
            await asyncio.gather(*(stream.following for stream in opened))
    return streams


async def close_streams(streams: list[Reading]) -> None:
    for stream in streams:
        stream.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(5.0):
            await asyncio.gather(*(stream.ended for stream in streams))


async def _open(port: int, target: str, chunk_received: Callable[[Reading, bytes], None]) -> Reading:
    loop = asyncio.get_running_loop()
    request = request_bytes("GET", target)
    _, stream = await loop.create_connection(lambda: Reading(request, chunk_received), "127.0.0.1", port)
    return stream
