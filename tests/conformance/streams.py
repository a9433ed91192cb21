"""Streams over a plain socket, so that every byte of the answer is seen as it was sent."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.conformance.frames import Frame, FrameParser
from tests.conformance.wire import TIMEOUT


@dataclass(slots=True)
class Stream:
    """One answer that is still arriving."""

    reader: asyncio.StreamReader
    status: int
    headers: dict[str, str]
    received: bytearray = field(default_factory=bytearray)
    ended: bool = False
    parser: FrameParser = field(default_factory=FrameParser)
    _frames: list[Frame] = field(default_factory=list)

    async def next_frame(self, *, within_seconds: float = TIMEOUT) -> Frame:
        async with asyncio.timeout(within_seconds):
            while not self._frames:
                assert await self._more(), "the stream ended"
        return self._frames.pop(0)

    async def take(self, count: int) -> list[Frame]:
        return [await self.next_frame() for _ in range(count)]

    async def take_until(self, holds: Callable[[Frame], bool], *, within_seconds: float = TIMEOUT) -> list[Frame]:
        """The frames up to and with the first that holds."""
        frames = [await self.next_frame(within_seconds=within_seconds)]
        while not holds(frames[-1]):
            frames.append(await self.next_frame(within_seconds=within_seconds))
        return frames

    async def take_through(self, id_: str) -> list[Frame]:
        """The frames up to and with the fact of this id."""
        return await self.take_until(lambda frame: frame.data.find(f'"id":"{id_}"'.encode()) > 0)

    async def take_until_caught_up(self) -> list[Frame]:
        """The frames up to and with `caught-up`; `position` frames on the way are checked and left out."""
        frames = await self.take_until(lambda frame: frame.event == "caught-up")
        assert [frame.position for frame in frames] == sorted(frame.position for frame in frames)
        return [frame for frame in frames if frame.event != "position"]

    async def next_fact(self) -> Frame:
        """The next fact; the cursor may be moved before it by `position` frames."""
        return (await self.take_until(lambda frame: frame.event != "position"))[-1]

    async def take_to_the_end(self) -> list[Frame]:
        async with asyncio.timeout(TIMEOUT):
            while await self._more():
                pass
        self.parser.finish()
        frames, self._frames = self._frames, []
        return frames

    async def bytes_until(self, holds: Callable[[bytes], bool], *, within_seconds: float = TIMEOUT) -> bytes:
        """Every byte of the body so far, once they hold."""
        async with asyncio.timeout(within_seconds):
            while not holds(bytes(self.received)):
                assert await self._more(), bytes(self.received)
        return bytes(self.received)

    async def _more(self) -> bool:
        piece = b"" if self.ended else await self.piece()
        self.ended = not piece
        self.received += piece
        self._frames += self.parser.feed(piece)
        return bool(piece)

    async def piece(self) -> bytes:
        """The next piece of the body as it was sent; empty at its end."""
        if self.headers.get("transfer-encoding") != "chunked":
            return await self.reader.read(1 << 16)
        size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
        piece = await self.reader.readexactly(size)
        assert await self.reader.readexactly(2) == b"\r\n", "a chunk ends with its line break"
        return piece


@asynccontextmanager
async def follow(
    base_url: str,
    parameters: Sequence[tuple[str, Any]] | dict[str, Any] = (),
    *,
    headers: dict[str, str] | None = None,
    body: Any = None,
    path: str = "/v1/stream",
) -> AsyncIterator[Stream]:
    """Open a stream, by POST where there is a body; closes the connection at the end."""
    content = b"" if body is None else json.dumps(body).encode()
    sent = {"accept": "text/event-stream", **(headers or {})}
    if body is not None:
        sent |= {"content-type": "application/json", "content-length": str(len(content))}
    query = urlencode(parameters, doseq=True)
    method = "GET" if body is None else "POST"
    async with connected(base_url, method, f"{path}?{query}", sent) as (reader, writer):
        writer.write(content)
        yield await opened(reader)


@asynccontextmanager
async def connected(
    base_url: str, method: str, target: str, headers: dict[str, str]
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which the head of a request was sent."""
    url = urlsplit(base_url)
    secure = ssl.create_default_context() if url.scheme == "https" else None
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection(url.hostname, url.port or (443 if secure else 80), ssl=secure)
    lines = [f"{method} {url.path}{target} HTTP/1.1", f"host: {url.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), TIMEOUT)


async def opened(reader: asyncio.StreamReader) -> Stream:
    """The answer whose head has arrived."""
    async with asyncio.timeout(TIMEOUT):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Stream(reader=reader, status=int(status.split(" ")[1]), headers=headers)
