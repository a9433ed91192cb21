"""A tiny proxy that does to a service what misconfigured ones do."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Proxy:
    """One request a connection. Without options it passes on everything as it is."""

    port: int
    holds_streams: bool = False
    compresses: bool = False
    body_bytes_max: int = 1 << 62
    idle_seconds: float | None = None
    v1_only: bool = False
    cuts_after_bytes: int = 1 << 62

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(found[1]) if (found := LENGTH.search(head)) else 0
            body = await reader.readexactly(length)
            if self.v1_only and b" /v1/" not in head.partition(b"\r\n")[0]:
                writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\nconnection: close\r\n\r\nnothing")
            elif length > self.body_bytes_max:
                writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 9\r\nconnection: close\r\n\r\ntoo large")
            else:
                await self.pass_on(head.replace(b"keep-alive", b"close") + body, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # either side has left
        finally:
            writer.close()

    async def pass_on(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        from_service, to_service = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            to_service.write(request)
            head = await from_service.readuntil(b"\r\n\r\n")
            is_stream = b"text/event-stream" in head
            if is_stream and self.compresses:
                head = head.replace(b"\r\n\r\n", b"\r\ncontent-encoding: identity\r\n\r\n")
            writer.write(head)
            passed = 0
            with suppress(TimeoutError):
                while chunk := await asyncio.wait_for(from_service.read(65536), self.idle_seconds):
                    chunk = chunk[: self.cuts_after_bytes - passed]
                    passed += len(chunk)
                    if not (is_stream and self.holds_streams):
                        writer.write(chunk)
                        await writer.drain()
                    if passed >= self.cuts_after_bytes:
                        break
        finally:
            to_service.close()


@asynccontextmanager
async def proxied(proxy: Proxy) -> AsyncIterator[str]:
    """The URL of a running proxy. At the end it drops what it still holds."""
    passing: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passing.add(asyncio.create_task(proxy.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in passing:
            task.cancel()
        await asyncio.wait(passing)
