"""Who repeats a publish: its publisher, by id; never the proxy, since a publish without ids would be written twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest

from tests.conftest import StartService
from tests.e2e.wire import Acknowledged, exported, keep_publishing
from tests.proxies.conftest import StartProxy, only_nginx
from tests.proxies.following import all_have, followers
from tests.proxies.metrics import has, metric, publishes
from tests.support.builders import new_fact, publication
from tests.support.service import ServiceProcess
from tests.support.waiting import until

pytestmark = [pytest.mark.proxies, pytest.mark.timeout(120)]

PUBLISHERS, STREAMS, KILLS = 8, 4, 4
REPEAT_ANYTHING = {"proxy_next_upstream error timeout": "proxy_next_upstream error timeout non_idempotent"}
WAITING = "factwire_publishes_waiting"
APPENDS_THAT_WAIT = """
select count(*) from pg_stat_activity where wait_event = 'advisory' and application_name = 'factwire append'
"""


async def test_killed_processes_leave_each_acknowledged_fact_once(
    start_service: StartService, start_proxy: StartProxy
) -> None:
    services = [await start_service(auth="none"), await start_service(auth="none")]
    proxy = await start_proxy(*services)
    told, done = Acknowledged(), asyncio.Event()
    async with followers(proxy.url, STREAMS) as following:
        publishing = [asyncio.create_task(keep_publishing(proxy.url, told, done)) for _ in range(PUBLISHERS)]
        await until(lambda: at_least(told, 100))
        for _ in range(KILLS):
            victim = services.pop(0)
            await victim.kill()
            services.append(await start_service(auth="none", port=victim.port))
            await until(lambda: publishes(services[-1]))
        done.set()
        await asyncio.gather(*publishing)
        facts = await exported(proxy.url)
        head = len(facts)
        await until(lambda: all_have(following, head))
        for follower in following:
            assert follower.positions == list(range(1, head + 1))
    print(f"{head} facts, {len(told.problems)} publishes in doubt, {KILLS} kills")
    assert {fact["id"]: fact["position"] for fact in facts} == told.positions
    assert [fact["position"] for fact in facts] == list(range(1, head + 1))


async def test_a_publish_without_ids_is_not_repeated_by_the_proxy(
    start_service: StartService, start_proxy: StartProxy, fresh_database_url: str
) -> None:
    first, second = await start_service(auth="none"), await start_service(auth="none")
    proxy = await start_proxy(first, second)
    async with (
        locked_log(fresh_database_url) as log,
        httpx.AsyncClient(base_url=proxy.url, verify=False, timeout=30) as client,
    ):
        publishing = asyncio.create_task(client.post("/v1/facts", json=without_id()))
        victim, other = await asked_of(first, second)
        await victim.kill()
        assert (await publishing).status_code == 502
        assert await metric(other, WAITING) == 0
        await log.execute("rollback")
    # The killed process had sent it to the database, which may have written it by now.
    await until(lambda: nobody_appends(fresh_database_url))
    assert len(await exported(other.url)) <= 1


@only_nginx
async def test_the_check_notices_a_proxy_that_repeats_anything(
    start_service: StartService, start_proxy: StartProxy, fresh_database_url: str
) -> None:
    first, second = await start_service(auth="none"), await start_service(auth="none")
    proxy = await start_proxy(first, second, changes=REPEAT_ANYTHING)
    async with (
        locked_log(fresh_database_url) as log,
        httpx.AsyncClient(base_url=proxy.url, verify=False, timeout=30) as client,
    ):
        publishing = asyncio.create_task(client.post("/v1/facts", json=without_id()))
        victim, other = await asked_of(first, second)
        await victim.kill()
        await until(lambda: has(other, WAITING, 1))
        await log.execute("rollback")
        assert (await publishing).status_code == 201


@asynccontextmanager
async def locked_log(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A log to which nobody can append until the transaction ends."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("begin")
        await connection.execute("select pg_advisory_xact_lock(lock_key) from factwire.log")
        yield connection
    finally:
        await connection.close()


async def asked_of(first: ServiceProcess, second: ServiceProcess) -> tuple[ServiceProcess, ServiceProcess]:
    """The process to which the proxy gave the publish, and the other one."""
    await until(lambda: one_waits_to_publish(first, second))
    return (first, second) if await metric(first, WAITING) else (second, first)


async def one_waits_to_publish(*services: ServiceProcess) -> bool:
    return sum([await metric(service, WAITING) for service in services]) == 1


async def nobody_appends(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval(APPENDS_THAT_WAIT) == 0)
    finally:
        await connection.close()


def without_id() -> dict[str, object]:
    fact = new_fact()
    del fact["id"]
    return publication(fact)


async def at_least(told: Acknowledged, count: int) -> bool:
    return len(told.positions) >= count
