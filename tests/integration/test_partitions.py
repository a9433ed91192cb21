"""Partitions ahead of the head: made by whoever comes first, one at a time, while everybody reads and writes."""

import asyncio

import asyncpg
import pytest

from factwire.store.partitions import create_partition, read_room
from tests.integration.store import a_fact, append_alone, execute, opened, read_ids

SMALL_FROM_THE_START = """
set session_replication_role = replica;
drop table factwire.facts_p0, factwire.fact_tags_p0;
update factwire.log set partition_facts = 50;
select factwire.create_partition(0);
"""


async def test_partitions_are_made_while_others_publish_and_read(fresh_database_url: str) -> None:
    await execute(fresh_database_url, SMALL_FROM_THE_START)
    done = asyncio.Event()

    async def look_after() -> None:
        connection = await asyncpg.connect(fresh_database_url)
        while not done.is_set():
            await create_partition(connection, room=100)
        await connection.close()

    async with opened(fresh_database_url) as database:
        keepers = [asyncio.create_task(look_after()) for _ in range(3)]
        async with database.read() as connection:
            while (await read_room(connection))[0] < 100:
                await asyncio.sleep(0)
        async with database.append.connection() as connection:
            published = []
            for _ in range(60):
                facts = [a_fact() for _ in range(7)]
                while (await room_of(fresh_database_url)) < 7:
                    await asyncio.sleep(0)
                await append_alone(connection, *facts)
                published += [fact.id for fact in facts]
        done.set()
        await asyncio.gather(*keepers)
        async with database.read() as connection:
            assert await read_ids(connection) == published


async def test_an_open_reader_does_not_hold_up_a_new_partition(fresh_database_url: str) -> None:
    await execute(fresh_database_url, SMALL_FROM_THE_START)
    reader, maker = await asyncpg.connect(fresh_database_url), await asyncpg.connect(fresh_database_url)
    transaction = reader.transaction(isolation="repeatable_read")
    await transaction.start()
    assert await reader.fetchval("select count(*) from factwire.facts") == 0
    async with asyncio.timeout(5):
        assert await create_partition(maker, room=60) == 100
    assert await read_ids(reader) == []
    await transaction.rollback()
    await reader.close()
    await maker.close()


async def test_beyond_the_last_partition_nothing_is_written(fresh_database_url: str) -> None:
    await execute(fresh_database_url, SMALL_FROM_THE_START)
    connection = await asyncpg.connect(fresh_database_url)
    await append_alone(connection, *(a_fact() for _ in range(49)))
    assert await read_room(connection) == (0, 50)
    with pytest.raises(asyncpg.CheckViolationError):
        await append_alone(connection, a_fact())
    assert await create_partition(connection, room=1) == 100
    assert await append_alone(connection, a_fact()) == 50
    await connection.close()


async def room_of(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return (await read_room(connection))[0]
    finally:
        await connection.close()
