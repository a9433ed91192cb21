"""Fail-over to a standby under load: one that had everything loses nothing, one that had not is noticed."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

import asyncpg
import httpx
import pytest

from tests.builders import new_fact, publication
from tests.conftest import StartService
from tests.e2e.wire import Acknowledged, exported, keep_publishing, position_of, streaming, until
from tests.faults.pair import Node, Pair
from tests.postgres import run_sql
from tests.service import ROOT, clean_environment

PUBLISHERS = 8
SHARED, LOST = 50, 30
REPLAYED = "select pg_last_wal_replay_lsn() >= $1::text::pg_lsn"

pytestmark = pytest.mark.faults

NewPair = Callable[[bool], Pair]


@pytest.fixture
def new_pair() -> Iterator[NewPair]:
    made: list[tuple[Pair, Path]] = []

    def make(synchronous: bool) -> Pair:
        directory = Path(mkdtemp(prefix="factwire-pair-"))
        directory.chmod(0o777)
        pair = Pair(directory, synchronous=synchronous)
        made.append((pair, directory))
        return pair

    yield make
    for pair, directory in made:
        pair.remove()
        shutil.rmtree(directory)


async def test_a_primary_killed_under_load_loses_nothing_that_its_synchronous_standby_acknowledged(
    new_pair: NewPair, start_service: StartService
) -> None:
    pair = await asyncio.to_thread(new_pair, True)
    service = await start_service(database_url=pair.url)
    told, done = Acknowledged(), asyncio.Event()
    async with (
        httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client,
        streaming(service.url) as stream,
    ):
        publishing = [asyncio.create_task(keep_publishing(service.url, told, done)) for _ in range(PUBLISHERS)]
        await until(lambda: at_least(told, 300))
        pair.primary.kill()
        killed_at, acknowledged = time.monotonic(), len(told.positions)
        await asyncio.to_thread(pair.standby.promote)
        await until(lambda: at_least(told, acknowledged + 1), seconds=30)
        print(f"publishing again {time.monotonic() - killed_at:.1f} s after the kill")
        await until(lambda: at_least(told, acknowledged + 200))
        done.set()
        await asyncio.gather(*publishing)
        head = await position_of(client)
        await stream.read_until(lambda body: f'"position":{head},"published_at"'.encode() in body)
        assert stream.positions() == list(range(1, head + 1))
        assert b"event: problem" not in stream.body
    facts = await exported(service.url)
    assert {fact["id"]: fact["position"] for fact in facts} == told.positions
    assert [fact["position"] for fact in facts] == list(range(1, head + 1))


async def test_a_standby_that_lacks_facts_is_noticed_and_nothing_is_skipped(
    new_pair: NewPair, start_service: StartService
) -> None:
    pair = await asyncio.to_thread(new_pair, False)
    service = await start_service(database_url=pair.url)
    async with (
        httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client,
        streaming(service.url) as stream,
    ):
        await publish(client, SHARED)
        await stall(pair)
        await publish(client, LOST)
        await stream.read_until(lambda body: f'"position":{SHARED + LOST},"published_at"'.encode() in body)
        pair.primary.kill()
        await asyncio.to_thread(pair.standby.promote)

        await stream.read_to_the_end(seconds=30)
        assert stream.ended_cleanly
        assert b"event: problem" in stream.body
        assert b"history-forked" in stream.body
        assert stream.positions() == list(range(1, SHARED + LOST + 1))
        # What was lost is not served over, whatever is published meanwhile.
        await until(lambda: publishes(client))
        await is_served_up_to_the_fork(client)

        assert "The epoch is 2." in await asyncio.to_thread(raise_epoch, pair.url, SHARED)
        await until(lambda: is_served(client, f"1:{SHARED}"))
        await is_refused_beyond_the_fork(client)
        async with streaming(service.url, cursor=f"1:{SHARED}") as resumed:
            head = await position_of(client)
            await resumed.read_until(lambda body: b"event: caught-up" in body)
            assert resumed.positions() == list(range(SHARED + 1, head + 1))
            assert f"\nid: 2:{head}\n".encode() in resumed.body


async def stall(pair: Pair) -> None:
    """Let the standby get everything so far, and nothing more."""
    sent = (await on(pair.primary, "select pg_current_wal_lsn()::text where $1::bool", True))[0][0]
    await until(lambda: holds(pair.standby, REPLAYED, sent))
    await on(pair.standby, "alter system set primary_conninfo = ''")
    await on(pair.standby, "select pg_reload_conf()")
    await until(lambda: holds(pair.primary, "select count(*) = 0 from pg_stat_replication where $1::bool", True))


async def is_served_up_to_the_fork(client: httpx.AsyncClient) -> None:
    refused = await client.get("/v1/facts", params={"after": f"1:{SHARED}"})
    assert (refused.status_code, kind(refused)) == (503, "history-forked")
    assert refused.json()["forked_after"] == SHARED
    shared = (await client.get("/v1/facts", params={"after": "start", "limit": 1000})).json()
    assert [fact["position"] for fact in shared["facts"]] == list(range(1, SHARED + 1))


async def is_refused_beyond_the_fork(client: httpx.AsyncClient) -> None:
    for lost in (SHARED + 1, SHARED + LOST):
        answer = await client.get("/v1/facts", params={"after": f"1:{lost}"})
        assert (answer.status_code, kind(answer)) == (409, "cursor-forked")
        assert answer.json()["forked_after"] == SHARED


async def publish(client: httpx.AsyncClient, count: int) -> None:
    for _ in range(count):
        (await client.post("/v1/facts", json=publication(new_fact()))).raise_for_status()


async def publishes(client: httpx.AsyncClient) -> bool:
    return (await client.post("/v1/facts", json=publication(new_fact()))).is_success


async def at_least(told: Acknowledged, count: int) -> bool:
    return len(told.positions) >= count


async def on(node: Node, statement: str, *arguments: object) -> list[asyncpg.Record]:
    return await asyncio.to_thread(run_sql, node.url, statement, *arguments)


async def holds(node: Node, claim: str, *arguments: object) -> bool:
    return bool((await on(node, claim, *arguments))[0][0])


async def is_served(client: httpx.AsyncClient, cursor: str) -> bool:
    return (await client.get("/v1/facts", params={"after": cursor})).is_success


def kind(response: httpx.Response) -> str:
    name: str = response.json()["type"].rpartition(":")[2]
    return name


def raise_epoch(url: str, forked_after: int) -> str:
    command = [sys.executable, "-m", "app", "epoch", "raise", "--forked-after", str(forked_after)]
    environment = clean_environment() | {"FACTWIRE_DATABASE_URL": url, "PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout
