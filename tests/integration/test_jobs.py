"""Background jobs: each has an interval and a failure of its own, and one that fails stops no other."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest

from factwire.domain.errors import Unavailable
from factwire.jobs.history_check import HistoryCheck
from factwire.jobs.runner import Job, JobRunner
from factwire.jobs.upkeep import Upkeep
from tests.integration.store import a_fact, append_alone, opened
from tests.integration.streams import Process, process
from tests.support.waiting import until

JOBS = "factwire.jobs.runner"
BROKEN_COUNTS = """
create or replace function factwire.fold_counts(p_facts_max integer) returns bigint
language plpgsql as $$ begin return 1 / 0; end $$
"""
EXPIRED_TICKET = """
insert into factwire.tickets (digest, principal, query, expires_at) values ('x', 'p', '', now() - interval '1 s')
"""


@asynccontextmanager
async def running(*jobs: Job) -> AsyncIterator[None]:
    task = asyncio.create_task(JobRunner(jobs).run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def counting(done: list[str], name: str, failure: Callable[[], None] = lambda: None) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        done.append(name)
        failure()

    return work


async def test_a_job_that_fails_or_hangs_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    def fail() -> None:
        raise ValueError("a bug\nwith data")

    async def hang() -> None:
        await asyncio.sleep(60)

    jobs = [
        Job("failing", 0.01, counting(done, "failing", fail), lambda: done.append("noted")),
        Job("hanging", 0.01, hang),
        Job("working", 0.01, counting(done, "working")),
    ]
    with caplog.at_level(logging.INFO, logger=JOBS):
        async with running(*jobs):
            await until(lambda: done.count("failing") > 2 and done.count("working") > 2)
    assert done.count("noted") >= done.count("failing") - 1
    assert [record.message for record in caplog.records] == ["the job failing failed: ValueError: a bug"]


async def test_a_job_whose_failure_ends_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    gone = Unavailable("no database")
    failures = iter([gone, ValueError("x"), ValueError("x"), gone, ValueError("x"), KeyError("y"), gone])
    done: list[str] = []

    def fail() -> None:
        failure = next(failures, None)
        if failure is not None:
            raise failure

    with caplog.at_level(logging.INFO, logger=JOBS):
        async with running(Job("it", 0.01, counting(done, "it", fail))):
            await until(lambda: len(done) > 8)
    said = [record.message for record in caplog.records]
    assert said == ["the job it failed: ValueError: x", "the job it failed: KeyError: 'y'", "the job it works again"]


async def test_a_slow_job_is_not_run_beside_itself() -> None:
    at_once, most = 0, 0

    async def slow() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1

    async with running(Job("slow", 0.001, slow)):
        await asyncio.sleep(0.1)
    assert most == 1


@pytest.fixture
async def upkept(fresh_database_url: str) -> AsyncIterator[tuple[Process, Upkeep, asyncpg.Connection]]:
    async with process(fresh_database_url) as following, opened(fresh_database_url) as database:
        connection = await asyncpg.connect(fresh_database_url)
        upkeep = Upkeep(database, HistoryCheck(following.tail))
        async with running(*upkeep.jobs):
            yield following, upkeep, connection
        await connection.close()


async def test_where_one_chore_cannot_be_done_the_others_are(
    upkept: tuple[Process, Upkeep, asyncpg.Connection], caplog: pytest.LogCaptureFixture
) -> None:
    """Counts cannot be folded: partitions are created, statistics read and expired tickets deleted all the same."""
    caplog.set_level(logging.INFO, logger=JOBS)
    _, upkeep, connection = upkept
    await connection.execute(BROKEN_COUNTS)
    await connection.execute(EXPIRED_TICKET)
    await append_alone(connection, a_fact())

    async def is_done() -> bool:
        tickets = await connection.fetchval("select count(*) from factwire.tickets")
        return tickets == 0 and upkeep.head == 1 and upkeep.room is not None and upkeep.listeners is not None

    await until(is_done)
    await until(lambda: any("the job counts failed" in record.message for record in caplog.records))


async def test_what_is_unknown_without_a_database_is_not_kept(fresh_database_url: str) -> None:
    async with process(fresh_database_url) as following:
        upkeep = Upkeep(following.database, HistoryCheck(following.tail))
        measuring = upkeep.jobs[:2]
        for job in measuring:
            await job.work()
        assert None not in (upkeep.head, upkeep.listeners)
        for job in measuring:
            job.on_failure()
        assert [upkeep.head, upkeep.listeners] == [None, None]
