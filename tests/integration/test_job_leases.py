"""Leases of jobs and the effect that fences them: whoever lost a lease cannot publish for it any more."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from factwire.domain.effect import HeldLease
from factwire.domain.errors import JobLeaseLost
from factwire.domain.query import new_item
from factwire.jobs.leased import run_leased
from factwire.publish.batch import Published
from factwire.store.append import Refusal, append
from factwire.store.connection import Connection
from factwire.store.job_leases import JobLease, release_lease, renew_lease, take_lease
from tests.integration.logs import connected
from tests.integration.store import a_fact, opened
from tests.integration.test_publishing import outcome, publishers, unless
from tests.support.service import ROOT, clean_environment
from tests.support.waiting import until

NAME = "job"


async def taken(connection: Connection, *, seconds: float = 30) -> JobLease:
    lease = await take_lease(connection, NAME, seconds=seconds)
    assert lease is not None
    return lease


async def test_one_holder_has_a_lease_until_it_ends_or_is_released(database_url: str) -> None:
    async with connected(database_url, 2) as [one, other]:
        first = await taken(one)
        assert await take_lease(other, NAME, seconds=30) is None
        assert await take_lease(one, NAME, seconds=30) is None  # not even the same process: each has its own holder
        assert await take_lease(other, "another job", seconds=30) is not None
        assert await renew_lease(one, first, seconds=30)
        await release_lease(one, first)
        assert not await renew_lease(one, first, seconds=30)
        second = await taken(other, seconds=0.05)
        assert second.fence == first.fence + 1
        await asyncio.sleep(0.06)
        assert not await renew_lease(other, second, seconds=30)
        third = await taken(one)
        await release_lease(other, second)  # somebody else's by now: left alone
        assert await renew_lease(one, third, seconds=30)
        assert (third.fence, third.holder != first.holder) == (second.fence + 1, True)


async def test_of_many_at_once_one_takes_a_lease(database_url: str) -> None:
    async with connected(database_url, 8) as connections:
        for _ in range(10):
            found = await asyncio.gather(*(take_lease(each, NAME, seconds=30) for each in connections))
            [lease] = [each for each in found if each is not None]
            await release_lease(connections[0], lease)


@pytest.mark.parametrize("lost", ["name", "holder", "fence", "over"])
async def test_without_its_lease_a_request_alone_is_refused(database_url: str, lost: str) -> None:
    async with connected(database_url) as [connection]:
        lease = (await taken(connection, seconds=0.05 if lost == "over" else 30)).held
        await asyncio.sleep(0.06)
        changes: dict[str, Any] = {"name": "x", "holder": str(uuid4()), "fence": 99}
        wrong = replace(lease, **{name: value for name, value in changes.items() if name == lost})
        appended = await append(
            connection, [([a_fact()], None), ([a_fact()], None), ([a_fact()], None)], effects=[(), (wrong,), ()]
        )
        assert {place: each.refusal for place, each in appended.refused.items()} == {1: Refusal.LOST}
        assert await connection.fetchval("select count(*) from factwire.facts") == 2


async def test_a_request_with_its_lease_is_appended_and_a_retry_is_one_without_it(database_url: str) -> None:
    async with connected(database_url) as [connection], publishers(database_url, 1) as (publisher,):
        lease = await taken(connection)
        fact = a_fact()
        published = await publisher.publish([fact], effects=[lease.held])
        await release_lease(connection, lease)
        with pytest.raises(JobLeaseLost):
            await publisher.publish([a_fact()], effects=[lease.held])
        again = await publisher.publish([fact], effects=[lease.held])
        assert (again.replayed, list(again.positions)) == (True, list(published.positions))


async def test_a_refused_condition_and_a_lost_lease_are_refused_each_for_its_reason(database_url: str) -> None:
    async with connected(database_url) as [connection]:
        lease = await taken(connection)
        await append(connection, [([a_fact(aggregate_ids=["a"])], None)])
        gone = HeldLease(NAME, str(lease.holder), lease.fence + 1)
        requests = [
            ([a_fact()], unless(new_item(aggregate_ids=["a"]))),
            ([a_fact()], unless(new_item(aggregate_ids=["a"]))),
            ([a_fact()], unless(new_item(aggregate_ids=["b"]))),
        ]
        appended = await append(connection, requests, effects=[(gone,), (lease.held,), (gone, gone)])
        refusals = {place: each.refusal for place, each in appended.refused.items()}
        assert refusals == {0: Refusal.FAILED, 1: Refusal.FAILED, 2: Refusal.LOST}


async def test_a_lease_that_is_being_renewed_defers_a_request_and_holds_up_nobody(database_url: str) -> None:
    async with connected(database_url, 2) as [renewing, appending], publishers(database_url, 1) as (publisher,):
        lease = await taken(renewing)
        transaction = renewing.transaction()
        await transaction.start()
        assert await renew_lease(renewing, lease, seconds=60)
        appended = await append(appending, [([a_fact()], None), ([a_fact()], None)], effects=[(lease.held,), ()])
        assert {place: each.refusal for place, each in appended.refused.items()} == {0: Refusal.AGAIN}
        waiting = asyncio.create_task(publisher.publish([a_fact()], effects=[lease.held]))
        assert isinstance(await publisher.publish([a_fact()]), Published)
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await transaction.commit()
        assert isinstance(await waiting, Published)


async def test_a_lease_is_not_taken_before_the_facts_that_it_covers_are_visible(database_url: str) -> None:
    """It runs out while they are appended: whoever takes it then sees them all."""
    async with connected(database_url, 2) as [holding, taking]:
        lease = await taken(holding, seconds=0.3)
        transaction = holding.transaction()
        await transaction.start()
        await append(holding, [([a_fact()], None)], effects=[(lease.held,)])
        next_one = asyncio.create_task(take_lease(taking, NAME, seconds=30))
        await asyncio.sleep(0.4)
        assert not next_one.done()
        await transaction.commit()
        assert (await next_one) is not None
        assert await taking.fetchval("select count(*) from factwire.facts") == 1


@asynccontextmanager
async def holder_process(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that takes the lease for a second, renews it, and publishes for it without end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.integration.lease_holder", url, NAME),
        cwd=ROOT,
        env=clean_environment() | {"PYTHONPATH": f"{ROOT}:{ROOT / 'app'}"},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def test_a_process_that_was_stopped_through_the_end_of_its_lease_writes_nothing(fresh_database_url: str) -> None:
    async with connected(fresh_database_url) as [connection], publishers(fresh_database_url, 1) as (publisher,):

        async def facts_of(type: str) -> int:
            count: int = await connection.fetchval("select count(*) from factwire.facts where type = $1", type)
            return count

        async with holder_process(fresh_database_url) as process:
            await until(lambda: has_facts(facts_of, "Old", 5))
            os.kill(process.pid, signal.SIGSTOP)
            lease = None
            async with asyncio.timeout(10):
                while lease is None:
                    lease = await take_lease(connection, NAME, seconds=30)
            before = await facts_of("Old")
            assert isinstance(await outcome(publisher, [a_fact(type="New")]), Published)
            os.kill(process.pid, signal.SIGCONT)
            assert process.stdout is not None
            said = await asyncio.wait_for(process.stdout.readline(), 20)
            assert said.strip() == b"lost"
            assert await facts_of("Old") == before


async def has_facts(facts_of: Any, type: str, count: int) -> bool:
    return bool(await facts_of(type) >= count)


async def test_leased_work_is_done_by_one_and_ends_with_its_lease(fresh_database_url: str) -> None:
    async with opened(fresh_database_url) as database, connected(fresh_database_url) as [connection]:
        started, cancelled = asyncio.Event(), asyncio.Event()

        async def work(lease: JobLease) -> None:
            started.set()
            try:
                await asyncio.sleep(60)
            finally:
                cancelled.set()

        doing = asyncio.create_task(run_leased(database, NAME, work, seconds=0.6))
        await started.wait()
        assert not await run_leased(database, NAME, work, seconds=0.6)
        await asyncio.sleep(1)
        assert not doing.done()  # it was renewed
        await connection.execute(
            "update factwire.job_leases set holder = gen_random_uuid(), until = until + interval '1 h'"
        )
        assert await asyncio.wait_for(doing, 5)
        assert cancelled.is_set()


async def test_leased_work_that_ends_leaves_the_lease_to_others_and_its_error_to_its_caller(
    fresh_database_url: str,
) -> None:
    async with opened(fresh_database_url) as database:

        async def fail(lease: JobLease) -> None:
            raise ValueError(lease.name)

        async def end(lease: JobLease) -> None:
            return None

        with pytest.raises(ValueError, match=NAME):
            await run_leased(database, NAME, fail, seconds=30)
        assert await run_leased(database, NAME, end, seconds=30)
        assert await run_leased(database, NAME, end, seconds=30)
