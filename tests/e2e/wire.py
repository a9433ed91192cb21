"""A small client for tests that break things: publishing until acknowledged, and streams as raw bytes."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.support.builders import Fact, new_fact, publication

RETRY_SECONDS = 0.05
MAYBE_WRITTEN = (httpx.TransportError,)
REPEATABLE = {502, 503, 504}  # the service says only 503; a proxy says the others where it does not know


@dataclass
class Acknowledged:
    """What a publisher was told: the position of each id, and the problems on the way."""

    positions: dict[str, int] = field(default_factory=dict)
    problems: list[httpx.Response] = field(default_factory=list)


async def publish_until_acknowledged(client: httpx.AsyncClient, told: Acknowledged, fact: Fact) -> None:
    """Repeat one fact with its id until the service says where it stands."""
    while True:
        try:
            response = await client.post("/v1/facts", json=publication(fact))
        except MAYBE_WRITTEN:
            await asyncio.sleep(RETRY_SECONDS)
            continue
        if response.is_success:
            told.positions[fact["id"]] = response.json()["position"]
            return
        assert response.status_code in REPEATABLE, response.text
        told.problems.append(response)
        await asyncio.sleep(RETRY_SECONDS)


async def keep_publishing(url: str, told: Acknowledged, done: asyncio.Event, *, pause_seconds: float = 0) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as client:
        while not done.is_set():
            await publish_until_acknowledged(client, told, new_fact())
            await asyncio.sleep(pause_seconds)


async def exported(url: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=url, timeout=30, verify=False) as client:
        return [json.loads(line) for line in (await client.get("/v1/facts/export")).text.splitlines()]


async def position_of(client: httpx.AsyncClient) -> int:
    position: int = (await client.get("/v1/position")).json()["position"]
    return position


@dataclass
class RawStream:
    """One stream as it arrives."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body: bytes = b""
    ended_cleanly: bool = False

    async def read_until(self, holds: Callable[[bytes], bool], *, seconds: float = 20) -> bytes:
        async with asyncio.timeout(seconds):
            while not holds(self.body):
                assert await self.read_chunk(), f"the stream ended after {self.body[-500:]!r}"
        return self.body

    async def read_to_the_end(self, *, seconds: float = 20) -> bytes:
        """Everything that comes; `ended_cleanly` says whether the last chunk did."""
        async with asyncio.timeout(seconds):
            while await self.read_chunk():
                pass
        return self.body

    async def read_chunk(self) -> bool:
        try:
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            chunk = await self.reader.readexactly(size + 2)
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        self.ended_cleanly = size == 0
        self.body += chunk[:-2]
        return size > 0

    def positions(self) -> list[int]:
        """The positions of the facts so far."""
        events = self.body.split(b"\n\n")[:-1]
        lines = [line for event in events if b"event:" not in event for line in event.splitlines()]
        return [int(line.rpartition(b":")[2]) for line in lines if line.startswith(b"id: ")]

    def cursor(self) -> str:
        """The last id so far, of a whole event; empty if there is none."""
        whole = self.body.rpartition(b"\n\n")[0]
        return whole.rpartition(b"\nid: ")[2].split(b"\n")[0].decode() if b"\nid: " in whole else ""


@asynccontextmanager
async def streaming(
    url: str, parameters: str = "", *, cursor: str = "", secret: str | None = None
) -> AsyncIterator[RawStream]:
    reader, writer = await connect(url)
    last = f"last-event-id: {cursor}\r\n" if cursor else ""
    credentials = f"authorization: Bearer {secret}\r\n" if secret else ""
    writer.write(f"GET /v1/stream{parameters} HTTP/1.1\r\nhost: localhost\r\n{last}{credentials}\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 200"), head
    try:
        yield RawStream(reader, writer)
    finally:
        writer.close()


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    return await asyncio.open_connection(
        parts.hostname, parts.port, ssl=trusting() if parts.scheme == "https" else None
    )


def trusting() -> ssl.SSLContext:
    """For the certificate of a test."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
