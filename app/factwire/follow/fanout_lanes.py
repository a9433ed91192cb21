"""Lanes: a tenant whose queries cost a lot has a pass of its own, and the others are served without waiting for it."""

import asyncio
from collections import Counter
from collections.abc import Callable

from factwire.domain.position import Position
from factwire.domain.query import Query
from factwire.follow.fanout import Fanout, StreamLink
from factwire.follow.progress import Progress
from factwire.follow.query_index import is_decided_by_key
from factwire.follow.tail import Tail

LOOKS_MAX = 50  # of one tenant in the shared lane, for one fact: as much as passing it on takes
EMPTY_SECONDS = 60.0  # then a lane is closed


class LaneLoad:
    """The queries of one tenant in the shared lane, and how many look-ups a fact may take for them."""

    def __init__(self) -> None:
        self._queries: Counter[Query] = Counter()
        self._looks = 0

    @property
    def is_empty(self) -> bool:
        return not self._queries

    def fits(self, query: Query) -> bool:
        return query in self._queries or self._looks + comparisons_of(query) <= LOOKS_MAX

    def add(self, query: Query) -> None:
        """Streams with one query are one comparison."""
        if query not in self._queries:
            self._looks += comparisons_of(query)
        self._queries[query] += 1

    def discard(self, query: Query) -> None:
        self._queries[query] -= 1
        if not self._queries[query]:
            del self._queries[query]
            self._looks -= comparisons_of(query)


class FanoutLanes:
    """Pushes new facts to the streams that wait at the head: in one pass for all tenants, or in one for a tenant alone.

    In one pass for all, a tenant that publishes faster than its own queries can be compared with the facts would put
    everybody off. So the shared pass takes so many look-ups for each tenant, and streams beyond that go to a lane of
    their tenant.
    """

    def __init__(
        self,
        tail: Tail,
        *,
        more_to_come: Callable[[], bool] = lambda: False,
        on_passed: Callable[[Position, int], None] | None = None,
    ) -> None:
        self._tail = tail
        self._more_to_come = more_to_come
        self._shared = Fanout(tail, more_to_come=more_to_come, on_passed=on_passed)
        self._turns = asyncio.Lock()  # of the others: many lanes together take no more of the process than one
        self._loads: dict[str, LaneLoad] = {}
        self._own: dict[str, Fanout] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._closing: dict[str, asyncio.TimerHandle] = {}
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def streams(self) -> int:
        """How many streams are being pushed to."""
        return self._shared.streams + sum([live.streams for live in self._own.values()])

    async def run(self) -> None:
        """Serve until cancelled."""
        self._tail.on_change = self._shared.push_to_few
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self._shared.run())
                for tenant in self._own:  # of a run that failed
                    self._start(tenant)
        finally:
            self._tasks = None

    def drain(self) -> None:
        """Let every stream look by itself, and from now on end each one close to its own moment."""
        for live in (self._shared, *self._own.values()):
            live.drain()

    async def wait(self, query: Query, typed: bool, link: StreamLink, progress: Progress, *, tenant: str) -> None:
        """Be pushed to until the stream has to look by itself. The stream is at the head of the ring."""
        load = self._loads.get(tenant) or LaneLoad()
        if not load.fits(query):
            await self._wait_alone(query, typed, link, progress, tenant)
            return
        self._loads[tenant] = load
        load.add(query)
        try:
            await self._shared.wait(query, typed, link, progress)
        finally:
            load.discard(query)
            if load.is_empty:
                del self._loads[tenant]

    async def _wait_alone(self, query: Query, typed: bool, link: StreamLink, progress: Progress, tenant: str) -> None:
        if tenant not in self._own:
            self._own[tenant] = Fanout(self._tail, more_to_come=self._more_to_come, turns=self._turns)
            if self._tail.drain.begun:
                self._own[tenant].drain()
            self._start(tenant)
        live = self._own[tenant]
        try:
            await live.wait(query, typed, link, progress)
        finally:
            if not live.streams and tenant not in self._closing:
                closing = asyncio.get_running_loop().call_later(EMPTY_SECONDS, self._close_if_empty, tenant)
                self._closing[tenant] = closing

    def _start(self, tenant: str) -> None:
        if self._tasks is not None:
            self._running[tenant] = self._tasks.create_task(self._own[tenant].run())

    def _close_if_empty(self, tenant: str) -> None:
        del self._closing[tenant]
        if tenant in self._own and not self._own[tenant].streams:
            del self._own[tenant]
            task = self._running.pop(tenant, None)
            if task is not None:
                task.cancel()


def comparisons_of(query: Query) -> int:
    """How many look-ups it may take to compare a fact with the items that no index answers."""
    return sum([item.comparisons for item in query.items if not is_decided_by_key(item)])
