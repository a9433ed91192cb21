"""Upkeep of the log: new partitions ahead of the head, folded counts, and removal of expired tickets and sessions."""

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from factwire.domain.position import Position
from factwire.jobs.history_check import HistoryCheck
from factwire.jobs.runner import Job
from factwire.store.catalogue import fold_counts
from factwire.store.connection import Connection
from factwire.store.notifications import listeners
from factwire.store.partitions import create_partition, read_room
from factwire.store.pools import Pools, is_standby
from factwire.store.sessions import delete_expired_sessions
from factwire.store.statistics import LockQueue, read_statistics
from factwire.store.subscriptions.changes import forget_old
from factwire.store.subscriptions.totals import Totals, read_totals
from factwire.store.tickets import delete_expired_tickets

log = logging.getLogger(__name__)

MEASURE_SECONDS = 1.0
UPKEEP_SECONDS = 1.0
FORGET_SECONDS = 10.0
FOLD_FACTS_MAX = 50_000
FORGET_MAX = 100_000
TOTALS_SECONDS = 10.0


class Upkeep:
    """The jobs of upkeep: every process tries, and the database admits one at a time. On a standby they only read.

    The values that they read on the way are kept: for the metrics, the number of facts that still fit (`room`), the
    `head`, and the queue for the append lock (`lock`); for the hints, the backends of all `listeners`, or None while
    they are not known; and the totals of all `subscriptions`.
    """

    def __init__(self, pools: Pools, history: HistoryCheck, *, aside_max: int = 0) -> None:
        self._pools = pools
        self._aside_max = aside_max
        self.subscriptions: Sequence[Totals] = ()
        self.history = history
        self.room: int | None = None
        self.head: Position | None = None
        self.lock = LockQueue(0, 0.0)
        self.listeners: frozenset[int] | None = None

    @property
    def jobs(self) -> tuple[Job, ...]:
        on_primary = self._on_primary
        fold = partial(fold_counts, facts_max=FOLD_FACTS_MAX)
        delete_tickets = partial(delete_expired_tickets, tickets_max=FORGET_MAX)
        delete_sessions = partial(delete_expired_sessions, sessions_max=FORGET_MAX)
        return (
            Job("listeners", MEASURE_SECONDS, self._read_listeners, self._forget_listeners),
            Job("statistics", MEASURE_SECONDS, self._read_statistics, self._forget_statistics),
            Job("partitions", UPKEEP_SECONDS, self._create_partitions),
            Job("history", UPKEEP_SECONDS, partial(on_primary, self._check_history)),
            Job("counts", UPKEEP_SECONDS, partial(on_primary, fold)),
            Job("tickets", FORGET_SECONDS, partial(on_primary, delete_tickets)),
            Job("sessions", FORGET_SECONDS, partial(on_primary, delete_sessions)),
            Job("subscriptions", TOTALS_SECONDS, self._read_totals, self._forget_totals),
            Job("leases", FORGET_SECONDS, partial(on_primary, partial(forget_old, leases_max=FORGET_MAX))),
        )

    async def _read_listeners(self) -> None:
        async with self._pools.watch.acquire() as connection:
            self.listeners = await listeners(connection)

    def _forget_listeners(self) -> None:
        self.listeners = None

    async def _read_statistics(self) -> None:
        async with self._pools.watch.acquire() as connection:
            self.head, self.lock = await read_statistics(connection)

    def _forget_statistics(self) -> None:
        self.head, self.lock = None, LockQueue(math.nan, math.nan)

    async def _read_totals(self) -> None:
        async with self._pools.watch.acquire() as connection:
            self.subscriptions = await read_totals(connection, aside_max=self._aside_max)

    def _forget_totals(self) -> None:
        self.subscriptions = ()

    async def _create_partitions(self) -> None:
        async with self._pools.watch.acquire() as connection:
            self.room, partition_facts = await read_room(connection)
            if self.room < partition_facts and not await is_standby(connection):
                covered_until = await create_partition(connection, room=partition_facts)
                log.info("partitions reach to position %s", covered_until)
                self.room, _ = await read_room(connection)

    async def _check_history(self, connection: Connection) -> None:
        # A lost connection may have been to a server that is not the primary any more.
        lost = any(pool.failing for pool in self._pools.all())
        await self.history.look(connection, at_once=lost)

    async def _on_primary(self, work: Callable[[Connection], Awaitable[object]]) -> None:
        """Work on a connection to the primary; on a standby nothing is done."""
        async with self._pools.watch.acquire() as connection:
            if not await is_standby(connection):
                await work(connection)
