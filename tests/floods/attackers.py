"""Clients that mean harm: each kind keeps a number of connections busy until it is told to stop."""

import asyncio
import resource
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import uvloop

from tests.floods.flooding import Signals

SOURCE = "127.0.0.66"
DRIBBLE_SECONDS = 0.5
PAUSE_SECONDS = 2.0  # 10 000 attackers come 5000 times a second at most
ARRIVING_AT_ONCE = 100
READ_SECONDS = 15.0
HEAD = b"POST /v1/facts HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
STREAM = b"GET /v1/stream HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
BOMB = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n" + b"".join(b"x-%d: %b\r\n" % (n, b"y" * 100) for n in range(5000))


@dataclass
class Flood:
    """Connections that were made, and what became of them."""

    port: int
    outcomes: Counter[str] = field(default_factory=Counter)
    open: int = 0
    open_max: int = 0

    async def attack(self, attack: "Attack") -> None:
        """One connection after the other, from the one address of all attackers, until cancelled."""
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(SOURCE, 0))
            except OSError:
                self.outcomes["not accepted"] += 1
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            self.open += 1
            self.open_max = max(self.open_max, self.open)
            try:
                self.outcomes[await attack(reader, writer)] += 1
            finally:
                self.open -= 1
                writer.transport.abort()
            await asyncio.sleep(PAUSE_SECONDS)


Attack = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[str]]


async def dribble_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    return await dribble(reader, writer, b"GET /v1/position HTTP/1.1\r\nhost: localhost\r\n", b"x: y\r\n")


async def dribble_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    return await dribble(reader, writer, HEAD + b"content-length: 1000000\r\n\r\n", b" ")


async def bomb_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    return await dribble(reader, writer, BOMB, b"")


async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Connect and ask for a stream: what most costs memory to serve."""
    return await dribble(reader, writer, STREAM, b"")


async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes, piece: bytes) -> str:
    """Send a little from time to time, until the service answers or closes the connection; how it did."""
    answering = asyncio.create_task(status(reader))
    with suppress(ConnectionError):
        writer.write(first)
        while not answering.done():
            await asyncio.wait({answering}, timeout=DRIBBLE_SECONDS)
            if piece and not answering.done():
                writer.write(piece)
    return await answering


async def status(reader: asyncio.StreamReader) -> str:
    try:
        async with asyncio.timeout(READ_SECONDS):
            line = await reader.readline()
            if line.startswith(b"HTTP/1.1 200"):
                await reader.read()  # until the stream ends
    except TimeoutError:
        return "served"
    except OSError:
        return "closed"
    return line.split()[1].decode() if line else "closed"


def run_attackers(port: int, attack: Attack, connections: int, signals: Signals) -> None:
    """Be so many attackers until it is enough, and tell what came of it; in a process of their own."""
    signals.begun.set()
    limit_of_files(connections + 1000)
    flood = Flood(port)

    async def run() -> None:
        tasks = []
        for number in range(connections):
            tasks.append(asyncio.create_task(flood.attack(attack)))
            if number % ARRIVING_AT_ONCE == 0:
                await asyncio.sleep(0.01)
        while not signals.stop.is_set():
            await asyncio.sleep(PAUSE_SECONDS / 10)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    uvloop.run(run())
    signals.outcomes.put({**flood.outcomes, "open at once": flood.open_max})


def limit_of_files(needed: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, most), most))


def is_loopback_network() -> bool:
    """Whether any address of 127.0.0.0/8 may be bound, as on Linux."""
    with socket.socket() as probe:
        try:
            probe.bind((SOURCE, 0))
        except OSError:
            return False
    return True
