"""Nothing acknowledged is lost and nothing is doubled, whoever is killed or stopped in the middle of publishing."""

import asyncio
import os
import signal
import time

import asyncpg
import httpx
import psutil

from tests.conftest import StartPostgres, StartService
from tests.e2e.wire import Acknowledged, RawStream, exported, keep_publishing, position_of, streaming
from tests.support.builders import new_fact, publication
from tests.support.postgres import ThrowawayPostgres
from tests.support.service import ServiceProcess
from tests.support.waiting import until

PUBLISHERS = 8
RECOVERY_SECONDS = 10


async def test_a_killed_postgres_loses_nothing_and_the_service_recovers_by_itself(
    start_postgres: StartPostgres, start_service: StartService
) -> None:
    postgres = await asyncio.to_thread(start_postgres)
    service = await start_service(database_url=postgres.url)
    told, done = Acknowledged(), asyncio.Event()
    async with (
        httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client,
        streaming(service.url) as open_stream,
    ):
        publishing = [asyncio.create_task(keep_publishing(service.url, told, done)) for _ in range(PUBLISHERS)]
        await until(lambda: at_least(told, 200))
        kill_all(postgres)
        await until(lambda: problems(told, 20))
        assert (await client.get("/readyz")).status_code == 200
        async with streaming(service.url) as refused:
            assert (await refused.read_to_the_end()).startswith(b"retry: ")
            assert refused.ended_cleanly

        await asyncio.to_thread(postgres.start)
        began, acknowledged = time.monotonic(), len(told.positions)
        await until(lambda: at_least(told, acknowledged + 100))
        assert time.monotonic() - began < RECOVERY_SECONDS
        done.set()
        await asyncio.gather(*publishing)
        head = await position_of(client)
        seen = await everything_seen(service, open_stream, head)

    facts = await exported(service.url)
    assert {fact["id"]: fact["position"] for fact in facts} == told.positions
    assert len(facts) == head
    assert seen == list(range(1, head + 1))
    for problem in told.problems:
        kind = problem.json()["type"].rpartition(":")[2]
        assert problem.headers["retry-after"]
        assert kind in {"unavailable", "outcome-unknown"}
        assert kind == "unavailable" or len(problem.json()["ids"]) == 1


async def test_a_killed_service_leaves_each_retried_fact_once(start_service: StartService) -> None:
    service = await start_service()
    told, done = Acknowledged(), asyncio.Event()
    publishing = [asyncio.create_task(keep_publishing(service.url, told, done)) for _ in range(PUBLISHERS)]
    for round in range(1, 4):
        await until(lambda wanted=150 * round: at_least(told, wanted))
        await service.kill()
        service = await start_service(port=service.port)
    await until(lambda: at_least(told, 600))
    done.set()
    await asyncio.gather(*publishing)
    facts = await exported(service.url)
    assert {fact["id"]: fact["position"] for fact in facts} == told.positions
    assert [fact["position"] for fact in facts] == list(range(1, len(facts) + 1))


async def test_a_process_stopped_in_the_middle_of_an_append_does_not_hold_up_the_others(
    start_service: StartService, fresh_database_url: str
) -> None:
    stopped, other = await start_service(), await start_service()
    holder, watcher = await asyncpg.connect(fresh_database_url), await asyncpg.connect(fresh_database_url)
    held = holder.transaction()
    await held.start()
    await holder.execute("select pg_advisory_xact_lock(lock_key) from factwire.log")
    async with (
        httpx.AsyncClient(base_url=stopped.url, timeout=60, verify=False) as first,
        httpx.AsyncClient(base_url=other.url, timeout=60, verify=False) as second,
    ):
        fact = new_fact()
        waiting = asyncio.create_task(first.post("/v1/facts", json=publication(fact)))
        await until(lambda: append_waits(watcher))
        stopped.stop()
        await held.rollback()
        async with asyncio.timeout(5):
            assert (await second.post("/v1/facts", json=publication())).status_code == 201
        stopped.cont()
        assert (await waiting).status_code == 201
        assert (await second.post("/v1/facts", json=publication(fact))).status_code == 200
    await holder.close()
    await watcher.close()
    assert len(await exported(other.url)) == 2


async def everything_seen(service: ServiceProcess, stream: RawStream, head: int) -> list[int]:
    """The positions that a client gets which resumes wherever its stream has ended."""
    await read_through(stream, head)
    seen = stream.positions()
    cursor = stream.cursor()
    async with asyncio.timeout(20):
        while seen[-1] < head:
            async with streaming(service.url, cursor=cursor) as resumed:
                await read_through(resumed, head)
                seen += resumed.positions()
                cursor = resumed.cursor() or cursor
    return seen


async def read_through(stream: RawStream, head: int) -> None:
    while stream.positions()[-1:] != [head] and await stream.read_chunk():
        pass


async def at_least(told: Acknowledged, count: int) -> bool:
    return len(told.positions) >= count


async def problems(told: Acknowledged, count: int) -> bool:
    return len(told.problems) >= count


async def append_waits(connection: asyncpg.Connection) -> bool:
    query = (
        "select count(*) from pg_stat_activity where wait_event = 'advisory' and application_name = 'factwire append'"
    )
    return bool(await connection.fetchval(query))


def kill_all(postgres: ThrowawayPostgres) -> None:
    postmaster = psutil.Process(int((postgres.directory / "postmaster.pid").read_text().split()[0]))
    family = [postmaster, *postmaster.children(recursive=True)]
    for process in family:
        os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(family, timeout=10)
