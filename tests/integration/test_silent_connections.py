"""A connection to the database over which nothing comes back, as after a cut that nobody was told of."""

import asyncio

import pytest

from factwire.domain.errors import Unavailable
from factwire.store.pools import Pool
from tests.integration.logs import connected
from tests.integration.relay import Relay, relaying
from tests.support.waiting import until


async def test_a_read_over_a_silent_connection_is_unavailable_as_soon_as_its_time_is_over(database_url: str) -> None:
    async with relaying(database_url) as (relay, url):
        lane = Pool(url, name="read", connections_max=1, statement_seconds=10, wait_seconds=5)
        await lane.open()
        async with lane.acquire() as connection:
            assert await connection.fetchval("select 1") == 1
        relay.room = 0
        async with asyncio.timeout(3):
            with pytest.raises(Unavailable):
                async with lane.acquire() as connection:
                    await connection.fetchval("select 1", timeout=0.1)
        relay.resumed.set()
        relay.room = float("inf")
        async with lane.acquire() as connection:
            assert await connection.fetchval("select 1") == 1
        await lane.close()


async def test_a_reader_that_gives_up_on_a_silent_connection_is_not_told_of_a_failure(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factwire.store.pools.CONNECT_SECONDS", 0.2)
    async with relaying(database_url) as (relay, url):
        lane = Pool(url, name="read", connections_max=1, statement_seconds=10, wait_seconds=5)
        await lane.open()

        async def read() -> None:
            async with lane.acquire() as connection:
                relay.room = 0
                await connection.fetchval("select 1")

        reading = asyncio.create_task(read())
        await asyncio.wait_for(relay.stalled.wait(), 5)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await lane.close()


async def test_a_session_that_was_ended_is_unavailable_before_its_connection_is_closed(database_url: str) -> None:
    async with relaying(database_url) as (relay, url), connected(database_url) as [operator]:
        lane = Pool(url, name="read", connections_max=1, statement_seconds=10, wait_seconds=5)
        await lane.open()
        async with lane.acquire() as connection:
            session = await connection.fetchval("select pg_backend_pid()")
        relay.keeps_open = True
        told = relay.from_server_bytes
        await operator.execute(f"select pg_terminate_backend({session})")
        await until(lambda: passed(relay, told))
        with pytest.raises(Unavailable):
            async with lane.acquire() as connection:
                await connection.fetchval("select 1")
        async with lane.acquire() as connection:
            assert await connection.fetchval("select 1") == 1
        relay.resumed.set()
        await lane.close()


async def passed(relay: Relay, told: int) -> bool:
    return relay.from_server_bytes > told
