"""P2: whoever has passed a position never finds a fact at or below it later, however slowly publishers commit."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from factwire.domain.errors import LogDamaged
from factwire.domain.position import START, Position
from factwire.domain.query import EVERYTHING
from factwire.follow.ring import Ring
from factwire.follow.tail import Tail
from factwire.store.connection import Connection
from factwire.store.pools import Pools
from factwire.store.read import Form, PageBounds, read_page
from tests.integration.store import a_fact, append_alone, execute, opened, read_ids
from tests.support.postgres import run_sql

APPENDING = """
select pg_get_functiondef(oid) from pg_proc where pronamespace = 'factwire'::regnamespace and proname = any ($1)
"""
LOCK = "  perform pg_advisory_xact_lock(l.lock_key) from factwire.log l;\n"
BEFORE_THE_INSERTS = "  -- One entry of the chain for each append:"
PUBLISHERS = 6
BATCHES = 40

# Every commit takes a moment of its own, some much longer than others: what an fsync or a standby does to it.
SLOW_COMMITS = """
create function factwire.commit_slowly() returns trigger language plpgsql as
$$ begin perform pg_sleep(random() * 0.004); return null; end $$;
create constraint trigger commit_slowly after insert on factwire.fact_ids
  deferrable initially deferred for each row when (get_byte(uuid_send(new.id), 0) < 128)
  execute function factwire.commit_slowly();
"""

# What the function would be with a sequence and without its lock.
WITHOUT_THE_LOCK = """
create sequence if not exists factwire.loose_positions minvalue 0;
"""


@pytest.mark.parametrize("plain", [True, False])
async def test_live_readers_see_exactly_the_final_log_in_order(fresh_database_url: str, plain: bool) -> None:
    await execute(fresh_database_url, SLOW_COMMITS)
    async with opened(fresh_database_url) as database, following(database) as seen_by_tail:
        seen_by_pages = await publish_and_read(fresh_database_url, database, plain=plain)
        async with database.read() as connection:
            final = await read_ids(connection)
        assert seen_by_pages == final
        async with asyncio.timeout(10):
            while len(seen_by_tail) < len(final):
                await asyncio.sleep(0.01)
    assert seen_by_tail == final
    assert len(final) == PUBLISHERS * BATCHES * 2


@pytest.mark.parametrize("plain", [True, False])
async def test_positions_are_dense_and_in_commit_order(fresh_database_url: str, plain: bool) -> None:
    await execute(fresh_database_url, SLOW_COMMITS)
    async with opened(fresh_database_url) as database:
        await publish_and_read(fresh_database_url, database, plain=plain)
        async with database.read() as connection:
            rows = await connection.fetch("select position, published_at from factwire.facts order by position")
    assert [row["position"] for row in rows] == list(range(1, PUBLISHERS * BATCHES * 2 + 1))
    times = [row["published_at"] for row in rows]
    assert times == sorted(times)


@pytest.mark.parametrize("plain", [True, False])
async def test_a_reader_notices_facts_that_become_visible_out_of_order(fresh_database_url: str, plain: bool) -> None:
    """With a sequence instead of the lock live readers would lose facts: the hole is reported, not passed over."""
    await execute(fresh_database_url, SLOW_COMMITS)
    await take_the_lock_away(fresh_database_url)
    async with opened(fresh_database_url) as database:
        async with database.append.connection() as connection:
            await append_alone(connection, a_fact())  # registers the type, which takes the lock's protection as well
        with pytest.raises(LogDamaged, match="is missing"):
            await publish_and_read(fresh_database_url, database, plain=plain)


async def test_a_second_append_waits_until_the_first_is_visible(fresh_database_url: str) -> None:
    first, second, watching = [await asyncpg.connect(fresh_database_url) for _ in range(3)]
    transaction = first.transaction()
    await transaction.start()
    position = await append_alone(first, a_fact())
    waiting = asyncio.create_task(append_alone(second, a_fact()))
    await lock_is_awaited(watching)
    assert await watching.fetchval("select count(*) from factwire.facts") == 0
    await transaction.commit()
    assert await waiting == position + 1
    for connection in (first, second, watching):
        await connection.close()


async def test_appending_is_refused_under_repeatable_read(fresh_database_url: str) -> None:
    connection = await asyncpg.connect(fresh_database_url)
    with pytest.raises(asyncpg.PostgresError) as refusal:
        async with connection.transaction(isolation="repeatable_read"):
            await append_alone(connection, a_fact())
    assert refusal.value.sqlstate == "FW002"
    await connection.close()


async def take_the_lock_away(url: str) -> None:
    """Give both ways to append positions from a sequence and no lock: the classic way to lose facts."""
    for (text,) in await asyncio.to_thread(run_sql, url, APPENDING, ["append", "append_plain"]):
        broken = text.replace(LOCK, "").replace(
            BEFORE_THE_INSERTS, "  head := 2 * nextval('factwire.loose_positions');\n" + BEFORE_THE_INSERTS
        )
        assert broken.count("loose_positions") == 1
        assert "pg_advisory_xact_lock(" not in re.sub(r"--.*", "", broken)
        await execute(url, WITHOUT_THE_LOCK + broken)


async def publish_and_read(url: str, database: Pools, *, plain: bool) -> list[str]:
    """Publish from many connections while one reader pages along; what the reader saw when all is written."""
    done = asyncio.Event()
    reading = asyncio.create_task(read_live(database, done))
    await asyncio.gather(*(publish(url, plain=plain) for _ in range(PUBLISHERS)))
    done.set()
    return await reading


async def publish(url: str, *, plain: bool) -> None:
    connection = await asyncpg.connect(url)
    try:
        for _ in range(BATCHES):
            await append_alone(connection, a_fact(chosen_id=not plain), a_fact(chosen_id=not plain))
    finally:
        await connection.close()


async def read_live(database: Pools, done: asyncio.Event) -> list[str]:
    seen: list[str] = []
    after = START
    while True:
        was_done = done.is_set()
        async with database.read() as connection:
            after = await read_on(connection, after, seen)
        if was_done:
            return seen
        await asyncio.sleep(0)


async def read_on(connection: Connection, after: Position, seen: list[str]) -> Position:
    while True:
        page = await read_page(connection, EVERYTHING, after=after, form=Form.LINES, bounds=PageBounds())
        seen += [line.partition(b'"id":"')[2][:36].decode() for line in page.body.splitlines()]
        after = page.through
        if after >= page.head:
            return after


@asynccontextmanager
async def following(database: Pools) -> AsyncIterator[list[str]]:
    """What a tail hands to its streams, from the start on."""
    seen: list[str] = []
    tail = Tail(database, Ring(bytes_max=2**24, batch_bytes_max=2**24), poll_seconds=0.005)

    async def follow() -> None:
        cursor = START
        while True:
            if tail.started and tail.ring.covers(cursor):
                batch = tail.ring.take(EVERYTHING, cursor, typed=False)
                lines = [line for line in batch.body.splitlines() if line.startswith(b"data: ")]
                seen.extend(line.partition(b'"id":"')[2][:36].decode() for line in lines)
                cursor = batch.through
            await tail.wait(asyncio.get_running_loop().time() + 0.01)

    tasks = [asyncio.create_task(tail.run()), asyncio.create_task(follow())]
    async with asyncio.timeout(10):
        while not tail.started:
            await asyncio.sleep(0.005)
    yield seen
    for task in tasks:
        task.cancel()


async def lock_is_awaited(connection: asyncpg.Connection) -> None:
    async with asyncio.timeout(10):
        while not await connection.fetchval(
            "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        ):
            await asyncio.sleep(0.005)
