"""Periodic upkeep: new partitions ahead of the head, folded counts, and removal of expired tickets and sessions."""

import asyncio
import logging
import math

from factwire.domain.errors import Unavailable
from factwire.domain.position import Position
from factwire.jobs.history_check import HistoryCheck
from factwire.store.catalogue import fold_counts
from factwire.store.notifications import listeners
from factwire.store.partitions import create_partition, read_room
from factwire.store.pools import CONNECTION_FAILURES, Pools, is_standby
from factwire.store.sessions import delete_expired_sessions
from factwire.store.statistics import LockQueue, read_statistics
from factwire.store.tickets import delete_expired_tickets

log = logging.getLogger(__name__)

UPKEEP_SECONDS = 1.0
FOLD_FACTS_MAX = 50_000
FORGET_MAX = 10_000


class Upkeep:
    """Runs the upkeep: every process tries, and the database admits one at a time. On a standby it only reads.

    The values that it reads on the way are kept: for the metrics, the number of facts that still fit (`room`), the
    `head`, and the queue for the append lock (`lock`); for the hints, the backends of all `listeners`, or None while
    they are not known.
    """

    def __init__(self, pools: Pools, history: HistoryCheck) -> None:
        self._pools = pools
        self.history = history
        self.room: int | None = None
        self.head: Position | None = None
        self.lock = LockQueue(0, 0.0)
        self.listeners: frozenset[int] | None = None

    async def run(self) -> None:
        """Maintain the log until cancelled."""
        while True:
            try:
                await self._run_once()
            except (Unavailable, *CONNECTION_FAILURES):
                # The tail reports a database that cannot be reached, and the next round follows soon.
                self.head, self.lock = None, LockQueue(math.nan, math.nan)
                self.listeners = None
            await asyncio.sleep(UPKEEP_SECONDS)

    async def _run_once(self) -> None:
        async with self._pools.watch.acquire() as connection:
            self.listeners = await listeners(connection)
            self.head, self.lock = await read_statistics(connection)
            room, partition_facts = await read_room(connection)
            self.room = room
            if await is_standby(connection):
                return
            if room < partition_facts:
                covered_until = await create_partition(connection, room=partition_facts)
                log.info("partitions reach to position %s", covered_until)
                self.room, _ = await read_room(connection)
            # A lost connection may have been to a server that is not the primary any more.
            lost = any(pool.failing for pool in self._pools.all())
            await self.history.look(connection, at_once=lost)
            await fold_counts(connection, facts_max=FOLD_FACTS_MAX)
            await delete_expired_tickets(connection, tickets_max=FORGET_MAX)
            await delete_expired_sessions(connection, sessions_max=FORGET_MAX)
