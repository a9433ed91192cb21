"""A log of any length, appended through the service's own function past HTTP, a thousand facts a call."""

import asyncio
import random
from typing import Any

import asyncpg
from uuid_utils import uuid7

from factwire.domain.fact import NewFact, new_fact
from factwire.domain.limits import Limits
from factwire.store.append import append
from factwire.store.partitions import create_partition, read_room

NAMESPACE = "loaded"
TYPES = 24
HOT_AGGREGATE_ID = "hot"
HOT_FACTS_MAX = 100_000
_CALL_FACTS = 1_000
_LIMITS = Limits()


async def load(url: str, facts: int) -> int:
    """Append until the log has at least so many facts, and less than a thousand more; its head."""
    connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
    try:
        head: int = await connection.fetchval("select factwire.head()")
        batch = await asyncio.to_thread(_batch, head)
        for first in range(head, facts, _CALL_FACTS):
            room, partition_facts = await read_room(connection)
            if room < 2 * _CALL_FACTS:
                await create_partition(connection, room=partition_facts)
            appending = asyncio.create_task(append(connection, [(batch, None)]))
            await asyncio.sleep(0)
            batch = _batch(first + _CALL_FACTS)
            await appending
        head = await connection.fetchval("select factwire.head()")
        await connection.execute("vacuum (analyze)")
        await connection.execute("checkpoint")
        return head
    finally:
        await connection.close()


def _batch(first: int) -> list[NewFact]:
    chance = random.Random(first)
    return [_fact(first + offset, chance) for offset in range(_CALL_FACTS)]


def _fact(number: int, chance: random.Random) -> NewFact:
    hot = number % 10 == 0 and number < 10 * HOT_FACTS_MAX
    return new_fact(
        id=str(uuid7()),
        namespace=NAMESPACE,
        type=f"Type{number % TYPES:02d}",
        version=1,
        aggregate_ids=[
            HOT_AGGREGATE_ID if hot else f"order-{chance.randrange(10_000_000):08d}",
            f"customer-{chance.randrange(5_000):04d}",
        ],
        meta={"tenant": f"tenant-{chance.randrange(20):02d}"},
        payload=b'{"note":"%b"}' % (b"larch maple oak pine rowan " * 12),
        limits=_LIMITS,
        chosen_id=False,
    )
