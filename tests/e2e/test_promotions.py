"""A promotion refuses nothing: who had seen the history before confirms it, and otherwise an operator does."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

import asyncpg
import httpx
import pytest

from factwire.store.schema.migrate import migrate
from tests.conftest import StartService
from tests.e2e.test_doctor import found
from tests.e2e.test_observability import client_of, value_of
from tests.e2e.test_restoring import factwire
from tests.faults.pair import Pair
from tests.support.builders import publication
from tests.support.postgres import run_sql
from tests.support.waiting import until

STORE_ANOTHER_TIMELINE = """
update factwire.log set system_identifier = (select system_identifier from pg_control_system()), timeline = 0
"""
CHANGE_THE_TIMELINE = "update factwire.log set timeline = timeline - 1"
RECEIVED = "select exists (select from factwire.log where timeline is not null) and factwire.head() >= 1"
HAS_HISTORY = "the newest fact that was read before is still there"
UNCONFIRMED = "no process that had seen history before has confirmed that nothing was lost"


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A primary with a log, and a standby that need not have all of it."""
    directory = Path(mkdtemp(prefix="factwire-pair-"))
    directory.chmod(0o777)  # the servers run as a user of their own
    pair = Pair(directory, synchronous=False)
    try:
        migrate(pair.primary.url)
        yield pair
    finally:
        pair.remove()
        shutil.rmtree(directory)


async def test_a_process_that_began_after_a_change_warns_once_and_publishes_all_the_same(
    start_service: StartService, fresh_database_url: str
) -> None:
    await asyncio.to_thread(run_sql, fresh_database_url, STORE_ANOTHER_TIMELINE)
    service = await start_service()
    async with client_of(service) as client:
        await until(is_unconfirmed(client, 1))
        assert (await client.post("/v1/facts", json=publication())).status_code == 201
        assert service.log.count("promoted or restored (timeline 0 -> 1)") == 1
        finding = (await asyncio.to_thread(found, database_url=fresh_database_url))["history"]
        assert (finding["verdict"], "(timeline 0 -> 1)" in finding["detail"]) == ("note", True)
        assert "`factwire epoch raise`" in finding["change"]
        assert "`factwire epoch keep`" in finding["change"]

        done = await asyncio.to_thread(factwire, "epoch", "keep", database_url=fresh_database_url)
        assert done[0] == 0
        assert done[1].startswith("The history is confirmed. Timeline 1 of server ")
        await until(is_unconfirmed(client, 0))
        assert service.log.count("WARNING") == 1
    assert (await asyncio.to_thread(found, database_url=fresh_database_url))["history"]["verdict"] == "ok"


async def test_a_process_that_runs_meanwhile_confirms_by_itself(
    start_service: StartService, fresh_database_url: str
) -> None:
    service = await start_service()
    async with client_of(service) as client:
        assert (await client.post("/v1/facts", json=publication())).status_code == 201
        await until(is_stored(fresh_database_url, 1))
        await asyncio.to_thread(run_sql, fresh_database_url, CHANGE_THE_TIMELINE)
        await until(is_stored(fresh_database_url, 1))
        await until(is_unconfirmed(client, 0))
    assert f"(timeline 0 -> 1): {HAS_HISTORY}" in service.log
    assert UNCONFIRMED not in service.log


async def test_a_promotion_that_lost_nothing_is_confirmed_by_who_saw_the_facts(
    pair: Pair, start_service: StartService
) -> None:
    service = await start_service(database_url=pair.url)
    async with client_of(service) as client:
        await publish(client)
        await until(holds(pair.standby.url, RECEIVED))
        await asyncio.to_thread(pair.primary.kill)
        await asyncio.to_thread(pair.standby.promote)
        await until(is_stored(pair.standby.url, 2))
        assert (await value_of(client, "factwire_forks"), await publish(client)) == (0, 2)
        await until(is_unconfirmed(client, 0))
    assert f"(timeline 1 -> 2): {HAS_HISTORY}" in service.log
    assert UNCONFIRMED not in service.log


async def test_a_promotion_that_nobody_saw_is_left_to_the_operator(pair: Pair, start_service: StartService) -> None:
    before = await start_service(database_url=pair.url)
    async with client_of(before) as client:
        await publish(client)
        await until(holds(pair.standby.url, RECEIVED))
    await before.terminate()
    await asyncio.to_thread(pair.primary.kill)
    await asyncio.to_thread(pair.standby.promote)
    after = await start_service(database_url=pair.url)
    async with client_of(after) as client:
        await until(is_unconfirmed(client, 1))
        assert await publish(client) == 2
        assert "promoted or restored (timeline 1 -> 2) and no process" in after.log
        assert (await asyncio.to_thread(factwire, "epoch", "raise", database_url=pair.url))[0] == 0
        await until(is_unconfirmed(client, 0))


async def test_a_promotion_that_lost_facts_cannot_be_kept(pair: Pair, start_service: StartService) -> None:
    service = await start_service(database_url=pair.url)
    async with client_of(service) as client:
        await publish(client)
        await until(holds(pair.standby.url, RECEIVED))
        await asyncio.to_thread(pair.standby.stop)
        await publish(client)
        await asyncio.to_thread(pair.primary.kill)
        await asyncio.to_thread(pair.standby.start)
        await asyncio.to_thread(pair.standby.promote)
        await until(holds(pair.standby.url, "select forked_at is not null from factwire.log"))
        code, _, told = await asyncio.to_thread(factwire, "epoch", "keep", database_url=pair.url)
        assert code == 1
        assert "facts after position 1 were replaced or lost: run `factwire epoch raise`" in told
        finding = (await asyncio.to_thread(found, database_url=pair.standby.url))["history"]
        assert (finding["verdict"], finding["change"]) == ("wrong", "factwire epoch raise --forked-after 1")
        assert (await client.post("/v1/facts", json=publication())).status_code == 503

        assert (await asyncio.to_thread(factwire, *finding["change"].split()[1:], database_url=pair.url))[0] == 0
        assert (await asyncio.to_thread(found, database_url=pair.standby.url))["history"]["verdict"] == "ok"
        await publish(client)
        await until(is_unconfirmed(client, 0))
    assert HAS_HISTORY not in service.log


async def test_a_process_that_begins_while_a_fork_is_noticed_counts_it(
    start_service: StartService, fresh_database_url: str
) -> None:
    await asyncio.to_thread(run_sql, fresh_database_url, "update factwire.log set forked_at = now()")
    finding = (await asyncio.to_thread(found, database_url=fresh_database_url))["history"]
    assert (finding["verdict"], "an unknown position" in finding["detail"]) == ("wrong", True)
    async with client_of(await start_service()) as client:
        await until(is_forked(client))


async def publish(client: httpx.AsyncClient) -> int:
    """Publish one fact, as soon as that can be done; its position."""
    published: list[int] = []

    async def is_published() -> bool:
        answer = await client.post("/v1/facts", json=publication())
        if answer.is_success:
            published.append(answer.json()["position"])
        return answer.is_success

    await until(is_published)
    return published[0]


Claim = Callable[[], Awaitable[bool]]


def is_unconfirmed(client: httpx.AsyncClient, value: int) -> Claim:
    async def claim() -> bool:
        return await value_of(client, "factwire_history_unconfirmed") == value

    return claim


def is_forked(client: httpx.AsyncClient) -> Claim:
    async def claim() -> bool:
        return await value_of(client, "factwire_forks") == 1

    return claim


def is_stored(url: str, timeline: int) -> Claim:
    return holds(url, "select timeline = $1 from factwire.log", timeline)


def holds(url: str, statement: str, *arguments: int) -> Claim:
    """A claim that a database confirms, as soon as it can be asked."""

    async def claim() -> bool:
        try:
            connection = await asyncpg.connect(url)
        except (OSError, asyncpg.CannotConnectNowError):
            return False
        try:
            return bool(await connection.fetchval(statement, *arguments))
        finally:
            await connection.close()

    return claim
