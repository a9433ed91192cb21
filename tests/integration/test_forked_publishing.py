"""History that was replaced: whoever has seen what was lost publishes nothing, and nobody does once that is known."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from factwire.domain.condition import Condition, fail_if_match
from factwire.domain.errors import CursorForked, FactwireError, HistoryForked, OutcomeUnknown, Unavailable
from factwire.domain.fact import NewFact
from factwire.domain.position import Cursor, Position
from factwire.domain.query import Query, new_item
from factwire.follow.tail import Tail
from factwire.publish.batch import Published
from factwire.publish.publisher import Publisher
from factwire.store.connection import Connection
from factwire.store.log import raise_epoch
from factwire.store.pools import Pools
from factwire.store.read_tail import Fork
from tests.integration.damage import behind_the_back
from tests.integration.logs import (
    MIB,
    connected,
    fact,
    new_tail,
    opened_database,
    running,
    store,
    stored_ids,
    waiting_for_a_lock,
)
from tests.support.waiting import until

SHARED = 10
NEVER_SECONDS = 3600.0
EARLY_SECONDS = 0.02

LOCK_LOG = "select factwire.lock_log()"
LOCK_THE_ROW = "select from factwire.log for update"
LOSE = (
    "delete from factwire.fact_ids where position > $1",
    "delete from factwire.fact_tags where position > $1",
    "delete from factwire.facts where position > $1",
)
LOSE_THE_CHAIN = "delete from factwire.chain where last_position > $1"
NOTICE = "select forked_at is not null from factwire.log"
END_SESSIONS = """
select pg_terminate_backend(pid)
  from pg_stat_activity
 where datname = current_database() and application_name in ('factwire append', 'factwire watch')
"""
SESSIONS = """
select count(*)
  from pg_stat_activity
 where datname = current_database() and pid = any ($1)
"""


@dataclass
class Process:
    """What one process has of the log to publish with."""

    database: Pools
    tail: Tail
    publisher: Publisher


@asynccontextmanager
async def process(url: str, *, poll_seconds: float = NEVER_SECONDS) -> AsyncIterator[Process]:
    """A process that has begun. Without polls it reads the log at its start, and when it is given a hint."""
    async with opened_database(url) as database:
        tail = new_tail(database, poll_seconds=poll_seconds)
        publisher = Publisher(
            database,
            wait_seconds=30.0,
            waiting_requests_max=1000,
            waiting_bytes_max=MIB,
            condition_seconds=10.0,
            tail=tail,
            on_appended=tail.follow_append,
        )
        async with running(tail.run(), publisher.run()):
            await until(lambda: tail.started)
            yield Process(database, tail, publisher)


async def replace_history(
    connection: Connection, *facts: NewFact, after: int = SHARED, chain_too: bool = False
) -> None:
    """Lose what is behind a position and append other facts there, as if by a restore and another process."""
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(LOCK_LOG)  # so that whatever was published before is seen, and lost
        await connection.execute("set local session_replication_role = replica")
        for statement in (*LOSE, *([LOSE_THE_CHAIN] if chain_too else ())):
            await connection.execute(statement, after)
        await connection.execute("set local session_replication_role = origin")
        if facts:
            await store(connection, facts)


async def outcome(process: Process, condition: Condition | None = None) -> Published | FactwireError:
    try:
        return await process.publisher.publish([fact("seat-1", type="SeatTaken")], condition)
    except FactwireError as error:
        return error


def seat_is_free(after: Cursor) -> Condition:
    return fail_if_match(Query((new_item(types=["SeatTaken"], aggregate_ids=["seat-1"]),)), after)


def others(count: int) -> Sequence[NewFact]:
    """The first of them takes the seat, at a position that a cursor of the lost history has passed by."""
    return [fact("seat-1", type="SeatTaken"), *(fact() for _ in range(count - 1))][:count]


@pytest.mark.parametrize("chain_too", [False, True], ids=["chain-left", "chain-lost"])
@pytest.mark.parametrize("count", [0, 2, 5, 8], ids=["shorter", "fewer", "as-many", "more"])
async def test_nothing_is_published_from_the_first_moment_after_history_was_replaced(
    database_url: str, count: int, chain_too: bool
) -> None:
    async with connected(database_url) as [connection], process(database_url) as first, process(database_url) as second:
        for _ in range(SHARED):
            await first.publisher.publish([fact()])
        lost = [await first.publisher.publish([fact()]) for _ in range(5)]
        old = lost[-1].cursor
        assert old.position == SHARED + 5
        await replace_history(connection, *others(count), chain_too=chain_too)
        stored = await stored_ids(connection)

        # The very first one, before anything was read: an append names a fact that this process has seen.
        assert isinstance(await outcome(first, seat_is_free(old)), HistoryForked)
        for condition in (None, seat_is_free(old), seat_is_free(Cursor(0, Position(0)))):
            assert isinstance(await outcome(first, condition), HistoryForked)
        await until(lambda: connection.fetchval(NOTICE))
        await until(lambda: first.tail.fork is not None)
        assert first.tail.fork is not None
        assert first.tail.fork.after == SHARED

        # The other one had read nothing of what was lost.
        for condition in (None, seat_is_free(old)):
            refused = await outcome(second, condition)
            assert isinstance(refused, HistoryForked)
            assert refused.members.get("forked_after", SHARED) == SHARED
        assert await stored_ids(connection) == stored


async def test_a_fork_outlives_the_processes_that_noticed_it_and_ends_with_a_new_epoch(database_url: str) -> None:
    async with connected(database_url) as [connection]:
        async with process(database_url, poll_seconds=EARLY_SECONDS) as noticing:
            for _ in range(SHARED + 5):
                old = (await noticing.publisher.publish([fact()])).cursor
            await replace_history(connection, *others(8))
            await until(lambda: connection.fetchval(NOTICE))
        stored = await stored_ids(connection)
        async with process(database_url) as first, process(database_url, poll_seconds=EARLY_SECONDS) as second:
            for each in (first, second):
                assert each.tail.fork is not None
                for condition in (None, seat_is_free(old)):
                    assert isinstance(await outcome(each, condition), HistoryForked)
            assert await stored_ids(connection) == stored

            epoch, forked_after = await raise_epoch(connection, forked_after=Position(SHARED), by="test")
            assert forked_after == SHARED
            first.tail.hint()
            for each in (first, second):
                await until(lambda each=each: each.tail.epoch == epoch)
                assert isinstance(await outcome(each), Published)
                assert isinstance(await outcome(each, seat_is_free(old)), CursorForked)


async def test_a_condition_with_a_cursor_of_lost_history_never_succeeds(database_url: str) -> None:
    """Whatever the moment, before the loss or after it, at a process that has seen it or at one that has not."""
    async with connected(database_url) as [connection], process(database_url) as first:
        for _ in range(SHARED + 5):
            old = (await first.publisher.publish([fact()])).cursor
        async with process(database_url, poll_seconds=EARLY_SECONDS) as second:
            asked = [
                asyncio.create_task(outcome(each, seat_is_free(old))) for each in (first, second) for _ in range(20)
            ]
            await replace_history(connection, *others(9))
            asked += [
                asyncio.create_task(outcome(each, seat_is_free(old))) for each in (first, second) for _ in range(20)
            ]
            outcomes = await asyncio.gather(*asked)
            published = [each for each in outcomes if isinstance(each, Published)]
            stored = await stored_ids(connection)
            # One that came before the loss was lost with it; behind the others' fact there is none.
            assert [id for each in published for id in each.ids if id in stored] == []
            assert isinstance(outcomes[-1], HistoryForked)


async def test_what_waits_while_a_fork_is_noticed_is_not_published_before_the_notice_is_stored(
    database_url: str,
) -> None:
    async with (
        connected(database_url, 3) as [locking, noticing, connection],
        process(database_url, poll_seconds=EARLY_SECONDS) as only,
    ):
        for _ in range(SHARED + 5):
            await only.publisher.publish([fact()])
        async with noticing.transaction():
            await noticing.execute(LOCK_THE_ROW)
            async with locking.transaction():
                await locking.execute(LOCK_LOG)
                called = asyncio.create_task(outcome(only))
                await until(lambda: waiting_for_a_lock(connection))
                queued = [asyncio.create_task(outcome(only)) for _ in range(3)]
                await until(lambda: only.publisher.waiting == 4)
                for statement in LOSE:
                    await behind_the_back(connection, statement, SHARED)
                await until(lambda: only.tail.fork is not None)
            outcomes = await asyncio.gather(called, *queued)
            assert not await connection.fetchval(NOTICE)
        # The one that waited for the row itself may have given up before it was looked at.
        assert all(isinstance(each, HistoryForked | Unavailable) for each in outcomes)
        assert len(await stored_ids(connection)) == SHARED


@pytest.mark.parametrize("erased", [False, True], ids=["just-started", "just-emptied"])
async def test_a_process_whose_ring_is_empty_names_no_position_that_is_not_true(
    database_url: str, erased: bool
) -> None:
    async with connected(database_url) as [connection]:
        await store(connection, [fact() for _ in range(SHARED)])
        async with process(database_url) as only:
            if erased:
                for _ in range(5):
                    await only.publisher.publish([fact()])
                only.tail.forget(only.tail.erasures + 1)
            head = only.tail.head
            assert only.tail.ring.marks() == []
            await replace_history(connection, fact(), after=head - 1)
            refused = await outcome(only)
            assert isinstance(refused, HistoryForked)
            assert refused.members.get("forked_after") is None
            await until(lambda: only.tail.fork is not None)
            assert only.tail.fork is not None
            assert only.tail.fork.after == (head - 1 if erased else None)
            again = await outcome(only)
            assert isinstance(again, HistoryForked)
            assert again.members.get("forked_after") == only.tail.fork.after
            assert "position 0" not in again.detail
            assert await connection.fetchval("select forked_after from factwire.log") == only.tail.fork.after


async def test_a_process_that_knows_the_place_names_it_to_the_others(database_url: str) -> None:
    async with connected(database_url) as [connection], process(database_url) as knowing:
        for _ in range(SHARED + 5):
            await knowing.publisher.publish([fact()])
        async with process(database_url) as starting:
            await replace_history(connection, *others(8))
            assert isinstance(await outcome(starting), HistoryForked)
            await until(lambda: connection.fetchval(NOTICE))
            assert await connection.fetchval("select forked_after from factwire.log") is None
            assert isinstance(await outcome(knowing), HistoryForked)
            await until(
                lambda: connection.fetchval("select forked_after is not distinct from $1 from factwire.log", SHARED)
            )
            starting.tail.hint()
            await until(lambda: starting.tail.fork == knowing.tail.fork == Fork(Position(SHARED)))


async def test_sessions_that_are_ended_without_a_loss_refuse_nothing(database_url: str) -> None:
    async with (
        connected(database_url) as [connection],
        process(database_url, poll_seconds=EARLY_SECONDS) as first,
        process(database_url) as second,
    ):
        for _ in range(10):
            for each in (first, second):
                assert isinstance(await outcome(each), Published)
            ended = [row["pid"] for row in await connection.fetch(END_SESSIONS.replace("select ", "select pid, ", 1))]
            assert len(ended) >= 2
            await until(lambda ended=ended: is_zero(connection, ended))
            for each in (first, second):
                await until(lambda each=each: publishes_again(each))
        for each in (first, second):
            assert (each.tail.fork, each.tail.forks) == (None, 0)
        assert not await connection.fetchval(NOTICE)


async def is_zero(connection: Connection, ended: Sequence[int]) -> bool:
    return bool(await connection.fetchval(SESSIONS, list(ended)) == 0)


async def publishes_again(process: Process) -> bool:
    """Whether it does; a session that was just ended may leave an outcome unknown, and nothing else."""
    found = await outcome(process)
    assert isinstance(found, Published | OutcomeUnknown | Unavailable), found
    return isinstance(found, Published)
