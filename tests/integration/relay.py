"""A relay between a client and PostgreSQL that counts what passes and can stop in the middle of a request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg


class Relay:
    """Passes bytes on. `room` is how many more may go to the server before it stalls.

    `keeps_open`: the client learns only at `resumed` that the server has closed the connection.
    """

    def __init__(self, address: str | tuple[str, int]) -> None:
        self._address = address
        self.room: float = float("inf")
        self.from_server_bytes = 0
        self.keeps_open = False
        self.stalled = asyncio.Event()
        self.resumed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self._address, str):
            server_reader, server_writer = await asyncio.open_unix_connection(self._address)
        else:
            server_reader, server_writer = await asyncio.open_connection(*self._address)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.pass_to_server(reader, server_writer))
                group.create_task(self.pass_to_client(server_reader, writer))
        except* OSError:
            pass
        finally:
            server_writer.close()
            writer.close()

    async def pass_to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(16 * 1024):
            if len(chunk) > self.room:
                self.stalled.set()
                await self.resumed.wait()
                self.room = float("inf")
            self.room -= len(chunk)
            writer.write(chunk)
            await writer.drain()
        writer.close()

    async def pass_to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(16 * 1024):
            self.from_server_bytes += len(chunk)
            writer.write(chunk)
            await writer.drain()
        if self.keeps_open:
            await self.resumed.wait()
        writer.close()


@asynccontextmanager
async def relaying(url: str) -> AsyncIterator[tuple[Relay, str]]:
    """A relay to the server of a database, and the URL that leads through it."""
    direct = await asyncpg.connect(url)
    address: str | tuple[str, int] = direct._addr  # type: ignore[attr-defined]
    await direct.close()
    relay = Relay(address)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0] or "postgres"
    try:
        yield relay, urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}", query="sslmode=disable"))
    finally:
        relay.resumed.set()
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def relayed(url: str) -> AsyncIterator[tuple[Relay, "asyncpg.Connection[Any]"]]:
    """A relay to the server of a database, and a connection through it."""
    async with relaying(url) as (relay, through):
        connection = await asyncpg.connect(through)
        try:
            yield relay, connection
        finally:
            relay.resumed.set()
            await connection.close()
