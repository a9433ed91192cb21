"""A log under test: facts for it, the floors above it, and what its server says about who waits for whom."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from factwire.domain.condition import Condition, fail_if_match
from factwire.domain.fact import NewFact, new_fact
from factwire.domain.limits import Limits
from factwire.domain.position import Cursor, Position
from factwire.domain.query import EVERYTHING, Item, Query, new_item
from factwire.follow.ring import Ring
from factwire.follow.streams import Streams
from factwire.follow.tail import Tail
from factwire.publish.publisher import Publisher
from factwire.store.append import append
from factwire.store.connection import Connection
from factwire.store.pools import Pools, new_pools
from factwire.store.read import Form, PageBounds, read_page
from tests.support.waiting import until

DEADLINE_SECONDS = 20.0
POLL_SECONDS = 0.005
MIB = 1024 * 1024

# Rewrites history as a restore or a lossy fail-over does: a replica's session does not fire the triggers.
CUT_THE_LOG = """
begin;
set local session_replication_role = replica;
delete from factwire.facts where position > {after};
delete from factwire.fact_tags where position > {after};
delete from factwire.fact_ids where position > {after};
commit
"""

WAITING_FOR_A_LOCK = """
select count(*) from pg_stat_activity
 where datname = current_database() and wait_event_type = 'Lock' and wait_event = 'advisory'
"""

LOCK_HOLDERS = """
select count(*)
  from pg_locks k, factwire.log l
 where k.locktype = 'advisory' and k.granted
   and k.database = (select oid from pg_database where datname = current_database())
   and (k.classid::bigint << 32) | k.objid::bigint = l.lock_key
"""


def fact(
    *aggregate_ids: str,
    id: UUID | None = None,
    namespace: str = "shop",
    type: str = "OrderPlaced",
    version: int = 1,
    meta: dict[str, str | list[str]] | None = None,
    payload: bytes = b"{}",
) -> NewFact:
    return new_fact(
        id=str(id or uuid4()),
        namespace=namespace,
        type=type,
        version=version,
        aggregate_ids=list(aggregate_ids),
        meta=meta or {},
        payload=payload,
        limits=Limits(payload_bytes_max=4 * MIB),
    )


def unless(*aggregate_ids: str, after: int = 0, epoch: int = 0, **parts: Any) -> Condition:
    """A condition that no fact after a position has all of these aggregate ids."""
    item = new_item(aggregate_ids=list(aggregate_ids), **parts)
    return fail_if_match(Query((item,)), Cursor(epoch, Position(after)))


def unless_any(*items: Item, after: int = 0) -> Condition:
    return fail_if_match(Query(items), Cursor(0, Position(after)))


async def store(connection: Connection, facts: Sequence[NewFact], *, call_facts_max: int = 1000) -> None:
    """Append facts past the publisher."""
    for first in range(0, len(facts), call_facts_max):
        await append(connection, [(facts[first : first + call_facts_max], None)])


async def stored_ids(connection: Connection, *, after: int = 0) -> list[str]:
    rows = await connection.fetch("select id from factwire.facts where position > $1 order by position", after)
    return [str(row["id"]) for row in rows]


async def page_ids(connection: Connection, *, after: int, until: int | None = None) -> tuple[int, list[bytes]]:
    """How far one page came, and the ids in it."""
    page = await read_page(
        connection,
        EVERYTHING,
        after=Position(after),
        until=None if until is None else Position(until),
        form=Form.LINES,
        bounds=PageBounds(),
    )
    return page.through, [line.split(b'"id":"')[1][:36] for line in page.body.splitlines()]


async def waiting_for_a_lock(connection: Connection) -> int:
    waiting: int = await connection.fetchval(WAITING_FOR_A_LOCK)
    return waiting


async def holders_of_the_lock(connection: Connection) -> int:
    holders: int = await connection.fetchval(LOCK_HOLDERS)
    return holders


@asynccontextmanager
async def connected(url: str, count: int = 1) -> AsyncIterator[list["asyncpg.Connection[Any]"]]:
    """Plain connections, ended without ceremony."""
    connections = [await asyncpg.connect(url) for _ in range(count)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.terminate()


@asynccontextmanager
async def opened_database(url: str, **changes: Any) -> AsyncIterator[Pools]:
    """The lanes of one process."""
    settings: dict[str, Any] = {"read_connections_max": 4, "read_seconds": 10.0, "append_seconds": 15.0}
    database = new_pools(url, **settings | changes)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def running(*tasks: Awaitable[None]) -> AsyncIterator[None]:
    """Tasks that run meanwhile; one that fails, fails the test."""
    started = [asyncio.ensure_future(task) for task in tasks]
    try:
        yield
    finally:
        for task in started:
            task.cancel()
        for task in started:
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def opened_publisher(url: str, **changes: Any) -> AsyncIterator[Publisher]:
    """The publisher of one process, with lanes of its own."""
    settings: dict[str, Any] = {
        "wait_seconds": 30.0,
        "waiting_requests_max": 20_000,
        "waiting_bytes_max": 256 * MIB,
        "condition_seconds": 10.0,
    }
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(opened_database(url))
        publisher = Publisher(database, **settings | changes)
        await stack.enter_async_context(running(publisher.run()))
        yield publisher


def new_tail(database: Pools, *, poll_seconds: float = 0.02, ring_bytes_max: int = 32 * MIB) -> Tail:
    return Tail(database, Ring(bytes_max=ring_bytes_max, batch_bytes_max=256 * 1024), poll_seconds=poll_seconds)


@asynccontextmanager
async def following_tail(url: str, **changes: Any) -> AsyncIterator[Tail]:
    """A tail that has begun."""
    async with opened_database(url) as database:
        tail = new_tail(database, **changes)
        async with running(tail.run()):
            await until(lambda: tail.started)
            yield tail


def streams_of(database: Pools, tail: Tail, **changes: Any) -> Streams:
    settings: dict[str, Any] = {
        "streams_max": 100,
        "history_reads_max": 3,
        "history_bytes_max": 64 * MIB,
        "age_seconds_max": 60.0,
        "drain_seconds": 0.1,
    }
    return Streams(database, tail, **settings | changes)


def ids_of(facts: Iterable[NewFact]) -> list[str]:
    return [fact.id for fact in facts]
