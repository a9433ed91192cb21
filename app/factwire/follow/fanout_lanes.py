"""Fan-out lanes: a tenant with expensive queries has a pass of its own, so that the others do not wait for it."""

import asyncio
from collections import Counter
from collections.abc import Callable

from factwire.domain.position import Position
from factwire.domain.query import Query
from factwire.follow.fanout import Fanout, StreamLink
from factwire.follow.progress import Progress
from factwire.follow.query_index import is_decided_by_key
from factwire.follow.tail import Tail

LOOKS_MAX = 50  # per tenant and fact in the shared lane: costs as much as passing the fact on
EMPTY_SECONDS = 60.0  # after this time an empty lane is closed


class LaneLoad:
    """Queries of one tenant in the shared lane, and the number of look-ups that a fact may take for them."""

    def __init__(self) -> None:
        self._queries: Counter[Query] = Counter()
        self._looks = 0

    @property
    def is_empty(self) -> bool:
        return not self._queries

    def fits(self, query: Query) -> bool:
        return query in self._queries or self._looks + comparisons_of(query) <= LOOKS_MAX

    def add(self, query: Query) -> None:
        """Count one more stream with this query. All streams with one query cost one comparison."""
        if query not in self._queries:
            self._looks += comparisons_of(query)
        self._queries[query] += 1

    def discard(self, query: Query) -> None:
        self._queries[query] -= 1
        if not self._queries[query]:
            del self._queries[query]
            self._looks -= comparisons_of(query)


class FanoutLanes:
    """Pushes new facts to the streams at the head, in a pass shared by all tenants or in a pass of one tenant.

    With only a shared pass, a tenant that publishes faster than its own queries can be compared with the facts would
    delay all others. Therefore the shared pass takes a limited number of look-ups for each tenant, and streams beyond
    that limit go to a lane of their tenant.
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
        self._turns = asyncio.Lock()  # of the tenants' own lanes: many together take no more of the process than one
        self._loads: dict[str, LaneLoad] = {}
        self._own: dict[str, Fanout] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._closing: dict[str, asyncio.TimerHandle] = {}
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def streams(self) -> int:
        """Number of streams that are being pushed to."""
        return self._shared.streams + sum([live.streams for live in self._own.values()])

    async def run(self) -> None:
        """Push to the streams until cancelled."""
        self._tail.on_change = self._shared.push_to_few
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self._shared.run())
                for tenant in self._own:  # left over from a run that failed
                    self._start(tenant)
        finally:
            self._tasks = None

    def drain(self) -> None:
        """Wake every stream, and from now on end each one close to its own end time."""
        for live in (self._shared, *self._own.values()):
            live.drain()

    async def wait(self, query: Query, typed: bool, link: StreamLink, progress: Progress, *, tenant: str) -> None:
        """Receive pushes until the stream has to read by itself. The stream is at the head of the ring."""
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
    """Number of look-ups to compare a fact with the items that the query index cannot decide by key alone."""
    return sum([item.comparisons for item in query.items if not is_decided_by_key(item)])
