"""A fork of history is stored before anybody is told of it, so that no process publishes from then on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from factwire.domain.errors import HistoryForked, Unavailable
from factwire.domain.position import Position
from factwire.publish.publisher import Publisher
from factwire.store.read_tail import Fork
from tests.integration.logs import connected, opened_publisher
from tests.integration.store import a_fact
from tests.integration.streams import process, publish, rewrite
from tests.support.waiting import until

IS_STORED = "select forked_at is not null from factwire.log"
NOTICE = "update factwire.log set forked_at = now(), forked_after = 3"
HOLD_THE_NOTICE = "select from factwire.log for update"


@asynccontextmanager
async def a_process_whose_history_was_replaced(
    url: str,
) -> AsyncIterator[tuple[Publisher, "asyncpg.Connection[asyncpg.Record]"]]:
    """Its publisher, and a connection beside it. It does not look at the log by itself."""
    await publish(url, 5, 1)
    async with process(url, poll_seconds=60) as seeing, connected(url, 1) as [connection]:
        await until(lambda: seeing.tail.head == 5)
        await rewrite(url, *(a_fact() for _ in range(4)))
        async with opened_publisher(url, tail=seeing.tail) as publisher:
            yield publisher, connection


async def test_a_fork_that_a_publisher_is_told_of_is_stored(fresh_database_url: str) -> None:
    async with a_process_whose_history_was_replaced(fresh_database_url) as (publisher, connection):
        with pytest.raises(HistoryForked):
            await publisher.publish([a_fact()])
        assert await connection.fetchval(IS_STORED)


async def test_a_fork_that_streams_are_told_of_is_stored(fresh_database_url: str) -> None:
    async with process(fresh_database_url) as seeing, connected(fresh_database_url, 1) as [connection]:
        await publish(fresh_database_url, 5, 1)
        await until(lambda: seeing.tail.head == 5)
        async with connection.transaction():
            await connection.execute(HOLD_THE_NOTICE)
            await rewrite(fresh_database_url, *(a_fact() for _ in range(4)))
            await until(lambda: seeing.tail.forks == 1)
            assert seeing.tail.fork is None
        await until(lambda: seeing.tail.fork == Fork(Position(3)))
        assert await connection.fetchval(IS_STORED)


async def test_nobody_is_told_of_a_fork_that_cannot_be_stored(fresh_database_url: str) -> None:
    async with a_process_whose_history_was_replaced(fresh_database_url) as (publisher, connection):
        async with connection.transaction():
            await connection.execute(HOLD_THE_NOTICE)
            with pytest.raises(Unavailable):
                await publisher.publish([a_fact()])
        with pytest.raises(HistoryForked):
            await publisher.publish([a_fact()])


async def test_an_import_of_known_facts_is_not_acknowledged_beside_a_fork(fresh_database_url: str) -> None:
    """Nothing of it is appended, which would be refused."""
    facts = [a_fact() for _ in range(3)]
    async with opened_publisher(fresh_database_url) as publisher, connected(fresh_database_url, 1) as [connection]:
        await publisher.publish_in_order(facts)
        await connection.execute(NOTICE)
        with pytest.raises(HistoryForked):
            await publisher.publish_in_order(facts)
