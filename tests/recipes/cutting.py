"""A bad network: a relay in front of a service that cuts connections off, and loses answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Relay:
    """Passes bytes on. `room` is how many come through to a client before its connection is cut off, or stalls.

    `answers_to_lose` is how many connections are cut off once the service has answered, with nothing of it passed on.
    `publishes_to_lose` is the same of connections that publish. While `publishing` is not set, publishes are held back.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self.requests = 0
        self.publishes = 0
        self.publishes_to_lose = 0
        self.publishing = asyncio.Event()
        self.publishing.set()
        self.room: float = float("inf")
        self.stalls = False
        self.answers_to_lose = 0
        self.cut = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            from_service, to_service = await asyncio.open_connection("127.0.0.1", self._port)
            publishes = asyncio.Event()
            asking = asyncio.create_task(self._ask(reader, to_service, publishes))
            await self._answer(from_service, writer, publishes)
            asking.cancel()
            to_service.transport.abort()
        except OSError:
            pass  # either side has left
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, publishes: asyncio.Event) -> None:
        with suppress(OSError):
            while chunk := await reader.read(64 * 1024):
                self.requests += 1
                if chunk.startswith(b"POST /v1/facts "):
                    publishes.set()
                    self.publishes += 1
                    await self.publishing.wait()
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, publishes: asyncio.Event
    ) -> None:
        room = self.room
        while chunk := await reader.read(64 * 1024):
            if self.answers_to_lose:
                self.answers_to_lose -= 1
                return self._cut(writer)
            if self.publishes_to_lose and publishes.is_set():
                self.publishes_to_lose -= 1
                return self._cut(writer)
            if len(chunk) > room:
                writer.write(chunk[: int(room)])
                await writer.drain()
                if self.stalls:
                    await asyncio.Event().wait()
                return self._cut(writer)
            room -= len(chunk)
            writer.write(chunk)
            await writer.drain()
        return None

    def cut_off(self) -> None:
        """Cut off every connection that is open."""
        for writer in self._writers:
            self._cut(writer)

    def _cut(self, writer: asyncio.StreamWriter) -> None:
        self.cut += 1
        writer.transport.abort()


@asynccontextmanager
async def relaying(port: int) -> AsyncIterator[tuple[Relay, str]]:
    """A relay to the service at a port, and the URL that leads through it."""
    relay = Relay(port)
    serving: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(relay.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield relay, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
