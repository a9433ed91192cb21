"""Subscriptions of a process: found by name, each with a desk while workers come, and watched for changes by others."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import asyncpg

from factwire.domain.errors import FactwireError, Unavailable
from factwire.domain.position import Position
from factwire.domain.subscription import LeasedFact, Subscription
from factwire.domain.subscription_errors import SubscriptionNotFound
from factwire.follow.tail import Tail
from factwire.store.connection import Connection
from factwire.store.pools import CONNECTION_FAILURES, Pools
from factwire.store.subscriptions.changes import note_workers, read_changes
from factwire.store.subscriptions.claims import Return, Returned, extend_leases, return_facts
from factwire.store.subscriptions.definitions import find_subscription
from factwire.store.subscriptions.parked import resolve_parked
from factwire.subscriptions.candidates import Buffered
from factwire.subscriptions.desk import Desk
from factwire.subscriptions.failures import failure_of
from factwire.subscriptions.match_watch import MatchWatch
from factwire.subscriptions.waiting import AckResult, ClaimResult
from factwire.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

REMEMBERED_SECONDS = 1.0
REMEMBERED_MAX = 10_000
LOOK_SECONDS = 0.2
WAITING_A_SECOND = 1000  # desks looked after in a second
IDLE_SECONDS = 10.0
WORKERS_SECONDS = 5.0
WORKERS_MAX = 200  # of a subscription, noted at once


class Remembered(NamedTuple):
    """A subscription as it was a moment ago."""

    subscription: Subscription
    until: float


class Subscriptions:
    """Entry point for the workers of all subscriptions.

    Others may change a subscription at any time: a desk with waiting workers learns of it by a look that all desks
    share, a few times a second, and what is remembered of a subscription is at most a second old.
    """

    def __init__(self, pools: Pools, tail: Tail, *, aside_max: int, metrics: Metrics | None = None) -> None:
        self._pools = pools
        self._tail = tail
        self._aside_max = aside_max
        self._watch = MatchWatch(tail)
        self._metrics = metrics or Metrics()
        self._buffered = Buffered()
        self._desks: dict[int, Desk] = {}
        self._remembered: dict[str, Remembered] = {}
        self._workers: dict[tuple[int, str], None] = {}

    @property
    def waiting(self) -> int:
        """Number of desks with waiting workers."""
        return sum([desk.waits for desk in self._desks.values()])

    async def find(self, name: str) -> Subscription:
        """Find a subscription, as it was a moment ago. Raises SubscriptionNotFound."""
        now = asyncio.get_running_loop().time()
        remembered = self._remembered.get(name)
        if remembered is not None and remembered.until > now:
            return remembered.subscription
        async with self._pools.read() as connection:
            found = await find_subscription(connection, name)
        if found is None:
            self.forget(name)
            raise SubscriptionNotFound(name)
        if len(self._remembered) >= REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[name] = Remembered(found, now + REMEMBERED_SECONDS)
        return found

    def forget(self, name: str) -> None:
        """Read a subscription anew the next time: it was changed, or deleted."""
        remembered = self._remembered.pop(name, None)
        if remembered is not None and remembered.subscription.id in self._desks:
            self._desks[remembered.subscription.id].look()

    async def claim(
        self, subscription: Subscription, worker: str, *, limit: int, wait_seconds: float, tenant: str
    ) -> ClaimResult:
        """Claim facts for a worker. Raises FactwireError; nothing is claimed then."""
        if len(self._workers) < WORKERS_MAX * (1 + len(self._desks)):
            self._workers[subscription.id, worker] = None
        desk = self._desk_of(subscription)
        try:
            return await desk.claim(worker, limit=limit, wait_seconds=wait_seconds, tenant=tenant)
        except SubscriptionNotFound:
            self._close(subscription)
            raise

    async def give_back(self, subscription: Subscription, result: ClaimResult) -> None:
        """Release facts that were claimed for a client that has left."""
        await self._desk_of(subscription).give_back(result)

    async def acknowledge(self, subscription: Subscription, facts: Sequence[LeasedFact]) -> AckResult:
        """Acknowledge facts. Those with the lease of another subscription are lost. Raises FactwireError."""
        own = [fact for fact in facts if fact.subscription == subscription.id]
        foreign = [fact for fact in facts if fact.subscription != subscription.id]
        if not own:
            return AckResult(0, foreign)
        try:
            result = await self._desk_of(subscription).acknowledge(own)
        except SubscriptionNotFound:
            self._close(subscription)
            raise
        self._metrics.delivered("acknowledged", result.acknowledged)
        self._metrics.delivered("lost", len(result.lost))
        return AckResult(result.acknowledged, [*result.lost, *foreign], result.early)

    async def return_facts(self, subscription: Subscription, facts: Sequence[LeasedFact], how: Return) -> Returned:
        """Return facts of leases. Raises FactwireError."""
        own = [fact for fact in facts if fact.subscription == subscription.id]
        async with self._connection() as connection:
            returned = await return_facts(connection, subscription.id, own, how)
        if returned is None:
            raise self._gone(subscription)
        self._metrics.delivered("parked", returned.parked)
        self._metrics.delivered("released" if how.released else "retried", returned.facts - returned.parked)
        self._metrics.delivered("lost", len(returned.lost))
        self.look(subscription.id)
        return replace(returned, lost=returned.lost | set(facts).difference(own))

    async def extend(
        self, subscription: Subscription, facts: Sequence[LeasedFact], *, seconds: float | None
    ) -> tuple[datetime, list[LeasedFact]]:
        """Extend leases. Returns their new end, and the facts of leases that have ended. Raises FactwireError."""
        own = {fact.lease for fact in facts if fact.subscription == subscription.id}
        async with self._connection() as connection:
            until, lost = await extend_leases(connection, subscription.id, own, seconds=seconds)
        return until, [fact for fact in facts if fact.lease in lost or fact.lease not in own]

    async def resolve_parked(
        self, subscription: Subscription, positions: Sequence[Position] | None, *, discard: bool
    ) -> int:
        """Replay or discard parked facts. Returns their number. Raises FactwireError."""
        async with self._connection() as connection:
            facts = await resolve_parked(connection, subscription.id, positions, discard=discard)
        if facts is None:
            raise self._gone(subscription)
        self.look(subscription.id)
        return facts

    def look(self, id: int) -> None:
        """Let the desk of a subscription, if there is one, look for facts that are ready by now."""
        if id in self._desks:
            self._desks[id].look()

    def drain(self) -> None:
        """Let every waiting claim end."""
        for desk in self._desks.values():
            desk.drain()

    async def run(self) -> None:
        """Watch for matches and for changes until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch.run())
            group.create_task(self._watch_changes())
            group.create_task(self._note_workers())

    async def _watch_changes(self) -> None:
        while True:
            waiting = [desk for desk in self._desks.values() if desk.waits]
            await asyncio.sleep(max(LOOK_SECONDS, len(waiting) / WAITING_A_SECOND))
            try:
                await self._notice_changes()
            except (Unavailable, *CONNECTION_FAILURES):
                pass  # the calls of the workers say so
            self._close_idle()

    async def _notice_changes(self) -> None:
        waiting = {id: desk for id, desk in self._desks.items() if desk.waits}
        if not waiting:
            return
        async with self._pools.watch.acquire() as connection:
            changes = {change.id: change for change in await read_changes(connection, waiting)}
        for id, desk in waiting.items():
            if id in changes:
                desk.notice(changes[id])
            else:
                desk.look()  # it was deleted, and the call says so

    def _close_idle(self) -> None:
        """Forget desks without workers: their candidates take memory."""
        oldest = asyncio.get_running_loop().time() - IDLE_SECONDS
        for id, desk in list(self._desks.items()):
            if desk.is_idle and desk.idle_since < oldest:
                desk.close()
                del self._desks[id]

    async def _note_workers(self) -> None:
        while True:
            await asyncio.sleep(WORKERS_SECONDS)
            seen, self._workers = list(self._workers), {}
            if not seen or self._tail.on_standby:
                continue
            try:
                async with self._pools.watch.acquire() as connection:
                    await note_workers(connection, seen)
            except (Unavailable, asyncpg.PostgresError) as error:
                log.warning("the workers of subscriptions could not be noted: %s", error)

    def _desk_of(self, subscription: Subscription) -> Desk:
        desk = self._desks.get(subscription.id)
        if desk is None:
            desk = Desk(
                self._pools,
                self._tail,
                self._watch,
                subscription,
                aside_max=self._aside_max,
                buffered=self._buffered,
                metrics=self._metrics,
            )
            self._desks[subscription.id] = desk
        return desk

    def _gone(self, subscription: Subscription) -> SubscriptionNotFound:
        self._close(subscription)
        return SubscriptionNotFound(subscription.name)

    def _close(self, subscription: Subscription) -> None:
        self._remembered.pop(subscription.name, None)
        desk = self._desks.pop(subscription.id, None)
        if desk is not None:
            desk.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """Connection for a change. Raises OutcomeUnknown, Unavailable, and InternalError."""
        try:
            async with self._pools.subscriptions.connection() as connection:
                yield connection
        except FactwireError:
            raise
        except (*CONNECTION_FAILURES, asyncpg.PostgresError) as error:
            raise failure_of(error) from error
