"""A process that follows a log, for tests of its streams."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from factwire.domain.fact import NewFact
from factwire.domain.position import Cursor, Position
from factwire.domain.query import EVERYTHING
from factwire.follow.progress import Facts, Happening
from factwire.follow.ring import Ring
from factwire.follow.streams import StreamRequest, Streams
from factwire.follow.tail import Tail
from factwire.store.pools import Pools
from tests.integration.logs import connected
from tests.integration.store import a_fact, append_alone, opened
from tests.support.waiting import until

LOSE_ALL_BEHIND_THE_THIRD = """
set local session_replication_role = replica;
delete from factwire.fact_ids where position > 3;
delete from factwire.fact_tags where position > 3;
delete from factwire.facts where position > 3;
set local session_replication_role = origin
"""


@dataclass
class Process:
    """What one process has of the log."""

    database: Pools
    tail: Tail
    streams: Streams


@asynccontextmanager
async def process(
    url: str,
    *,
    ring_bytes_max: int = 2**22,
    poll_seconds: float = 0.02,
    more_to_come: Callable[[], bool] = lambda: False,
) -> AsyncIterator[Process]:
    async with opened(url) as database:
        tail = Tail(database, Ring(bytes_max=ring_bytes_max, batch_bytes_max=2**16), poll_seconds=poll_seconds)
        streams = Streams(
            database,
            tail,
            streams_max=100,
            history_reads_max=3,
            history_bytes_max=2**24,
            age_seconds_max=60,
            drain_seconds=0,
            more_to_come=more_to_come,
        )
        running = asyncio.create_task(tail.run())
        await until(lambda: tail.started)
        yield Process(database, tail, streams)
        running.cancel()


def everything(after: int, *, epoch: int = 1, head: int = 0) -> StreamRequest:
    return StreamRequest(
        query=EVERYTHING, after=Cursor(epoch, Position(after)), head=Position(head), typed=False, heartbeat_seconds=60
    )


async def publish(url: str, batches: int, size: int) -> None:
    connection = await asyncpg.connect(url)
    for _ in range(batches):
        await append_alone(connection, *(a_fact() for _ in range(size)))
    await connection.close()


async def rewrite(url: str, *facts: NewFact) -> None:
    """Lose all behind the third fact, and append others in their place, before anybody can notice."""
    async with connected(url) as [connection], connection.transaction(isolation="read_committed"):
        await connection.execute(LOSE_ALL_BEHIND_THE_THIRD)
        for fact in facts:
            await append_alone(connection, fact)


def positions_of(happening: Happening) -> list[int]:
    if not isinstance(happening, Facts):
        return []
    return [int(line.rpartition(b":")[2]) for line in happening.body.splitlines() if line.startswith(b"id: ")]
