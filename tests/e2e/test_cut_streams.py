"""Streams that are cut at any byte: a client that comes back with the id that it kept misses nothing.

Some clients, such as @microsoft/fetch-event-source, keep an id as soon as its line is parsed, not when the event is
dispatched. They skip what they have not got yet, unless the id is the last line of its event.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from tests.conftest import StartService
from tests.e2e.proxy import Proxy, proxied
from tests.e2e.wire import RawStream, streaming
from tests.support.builders import new_fact, publication

Record = Callable[[RawStream, httpx.AsyncClient], Awaitable[bytes]]

FOLLOWED = "?namespace=followed&heartbeat=3"


@dataclass
class Client:
    """A parser of events that keeps an id at once, or when its event is dispatched."""

    keeps_at_once: bool
    kept: str = ""
    positions: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def read(self, body: bytes) -> None:
        """Take the body of one connection, as far as it came."""
        fields: dict[str, str] = {}
        for line in body.split(b"\n")[:-1]:
            name, _, value = line.decode().partition(": ")
            if line and name:
                fields[name] = value
                if name == "id" and self.keeps_at_once:
                    self.kept = value
            elif not line:
                self.dispatch(fields)
                fields = {}

    def dispatch(self, fields: dict[str, str]) -> None:
        self.kept = fields.get("id", self.kept)
        if "event" not in fields and "data" in fields:
            self.positions.append(json.loads(fields["data"])["position"])
        self.names.append(fields.get("event", ""))


KINDS = pytest.mark.parametrize("keeps_at_once", [False, True], ids=["at dispatch", "at once"])


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=20, verify=False) as client:
        yield client


async def publish(client: httpx.AsyncClient, count: int, namespace: str = "followed") -> list[int]:
    """Publish facts that are awkward to cut; their positions."""
    facts = [new_fact(namespace=namespace, payload={"é☃🦊": "id: 1:1\n\ndata: \n"}) for _ in range(count)]
    answer = await client.post("/v1/facts", json=publication(*facts))
    assert answer.status_code == 201, answer.text
    return [one["position"] for one in answer.json()["facts"]]


async def recorded_history(stream: RawStream, client: httpx.AsyncClient) -> bytes:
    """A page of facts that were there before, caught-up, and position."""
    await stream.read_until(lambda body: b"caught-up" in body)
    await publish(client, 1, "passed-over")
    return await stream.read_until(lambda body: b"event: position" in body and body.endswith(b"\n\n"))


async def recorded_live(stream: RawStream, client: httpx.AsyncClient) -> bytes:
    """The same, and facts one by one and several at once, as they are published."""
    await stream.read_until(lambda body: b"caught-up" in body)
    positions = [*await publish(client, 1), *await publish(client, 3), *await publish(client, 1)]
    await stream.read_until(lambda body: b'"position":%d,' % positions[-1] in body)
    await publish(client, 1, "passed-over")
    return await stream.read_until(lambda body: b"event: position" in body and body.endswith(b"\n\n"))


async def all_positions(client: httpx.AsyncClient) -> list[int]:
    page = (await client.get("/v1/facts", params={"namespace": "followed"})).json()
    assert page["caught_up"]
    return [fact["position"] for fact in page["facts"]]


async def behind(url: str, cursor: str) -> bytes:
    """What a stream sends from a cursor on, up to caught-up."""
    async with streaming(url, FOLLOWED, cursor=cursor) as stream:
        return await stream.read_until(lambda body: b"event: caught-up" in body and body.endswith(b"\n\n"))


@KINDS
@pytest.mark.parametrize("record", [recorded_history, recorded_live], ids=["history", "live"])
async def test_no_fact_is_skipped_or_repeated_wherever_a_stream_is_cut(
    start_service: StartService, record: Record, keeps_at_once: bool
) -> None:
    service = await start_service()
    async with publishing(service.url) as client, asyncio.timeout(45):
        await publish(client, 3)
        async with streaming(service.url, FOLLOWED) as stream:
            body = await record(stream, client)
        whole = Client(keeps_at_once)
        whole.read(body)
        assert {"caught-up", "position"} <= set(whole.names)
        await publish(client, 1)
        expected = await all_positions(client)
        assert whole.positions == expected[:-1]
        resumed: dict[str, bytes] = {}
        last_bytes = {end + 1 for end in range(len(body)) if body.startswith(b"\n\n", end)}
        for cut in range(len(body) + 1):
            follower = Client(keeps_at_once)
            follower.read(body[:cut])
            if follower.kept not in resumed:
                resumed[follower.kept] = await behind(service.url, follower.kept)
            follower.read(resumed[follower.kept])
            if not (keeps_at_once and cut in last_bytes):
                assert follower.positions == expected, body[:cut][-200:]


async def test_a_follower_behind_a_relay_that_cuts_at_any_byte_gets_each_fact_once(start_service: StartService) -> None:
    """The relay counts the head of the answer and the frames of HTTP too, so that those are cut as well."""
    service = await start_service()
    async with publishing(service.url) as client, asyncio.timeout(50):
        for _ in range(3):
            await publish(client, 2)
        expected = await all_positions(client)
        for cut in range(1000, 1500, 7):
            async with proxied(Proxy(service.port, cuts_after_bytes=cut)) as relay:
                follower, connections = Client(keeps_at_once=False), 0
                while follower.positions != expected:
                    async with streaming(relay, FOLLOWED, cursor=follower.kept) as stream:
                        follower.read(await until_caught_up_or_cut(stream))
                    connections += 1
                    assert follower.positions == expected[: len(follower.positions)]
                assert connections > 1


async def until_caught_up_or_cut(stream: RawStream) -> bytes:
    """The body as far as it came, the part of a last chunk included."""
    body = b""
    while b"event: caught-up" not in body:
        try:
            size = int(await stream.reader.readuntil(b"\r\n"), 16)
        except (asyncio.IncompleteReadError, ConnectionError):
            return body
        try:
            body += (await stream.reader.readexactly(size + 2))[:-2]
        except asyncio.IncompleteReadError as cut:
            return body + cut.partial[:size]
    return body
