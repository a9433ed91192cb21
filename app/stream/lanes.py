"""Lanes: a tenant that costs a lot to serve has a pass of its own, and the others are served without waiting for it."""

import asyncio
from collections.abc import Callable

from app.domain.position import Position
from app.domain.query import Query
from app.stream.live import Link, Live
from app.stream.pace import Pace
from app.stream.standing import is_told_by_key
from app.stream.tail import Tail

PAUSES_MAX = 30  # of the shared pass in a time, each of which comes after about a millisecond of work
PAUSES_SECONDS = 1.0
WOKEN_AT_ONCE = 8
EMPTY_SECONDS = 60.0  # then a lane is closed


class Lanes:
    """Pushes new facts to the streams that wait at the head: in one pass for all tenants, or in one for a tenant alone.

    In one pass for all, a tenant that publishes faster than its own queries can be compared with the facts would put
    everybody off. So the tenant whose queries may take the most look-ups gets a lane of its own as soon as the shared
    pass has to pause often.
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
        self._shared = Live(tail, more_to_come=more_to_come, on_passed=on_passed, on_pause=self._note_pause)
        self._waiting: dict[str, dict[Link, int]] = {}  # in the shared lane, with their look-ups
        self._own: dict[str, tuple[Live, asyncio.Task[None]]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._pauses = 0
        self._since = 0.0
        self._draining = False

    @property
    def streams(self) -> int:
        """How many streams are being pushed to."""
        return self._shared.streams + sum([live.streams for live, _ in self._own.values()])

    async def run(self) -> None:
        """Serve until cancelled."""
        self._tail.on_change = self._shared.pass_on_to_few
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self._shared.run())
                for tenant, (live, _) in self._own.items():  # of a run that failed
                    self._own[tenant] = (live, self._tasks.create_task(live.run()))
        finally:
            self._tasks = None

    def drain(self) -> None:
        """Let every stream look by itself, and from now on end each one close to its own moment."""
        self._draining = True
        for live in (self._shared, *[live for live, _ in self._own.values()]):
            live.drain()

    async def wait(self, query: Query, typed: bool, link: Link, pace: Pace, *, tenant: str) -> None:
        """Be pushed to until the stream has to look by itself. The stream is at the head of the ring."""
        if tenant in self._own:
            await self._wait_alone(query, typed, link, pace, tenant)
            return
        waiting = self._waiting.setdefault(tenant, {})
        waiting[link] = looks_of(query)
        try:
            await self._shared.wait(query, typed, link, pace)
        finally:
            del waiting[link]
            if not waiting:
                del self._waiting[tenant]

    async def _wait_alone(self, query: Query, typed: bool, link: Link, pace: Pace, tenant: str) -> None:
        live, _ = self._own[tenant]
        try:
            await live.wait(query, typed, link, pace)
        finally:
            if not live.streams:
                asyncio.get_running_loop().call_later(EMPTY_SECONDS, self._close_if_empty, tenant)

    def _note_pause(self) -> None:
        """The shared pass has to pause, to go on with it later. Where that happens often, find out for whom."""
        now = asyncio.get_running_loop().time()
        if now > self._since + PAUSES_SECONDS:
            self._since, self._pauses = now, 0
        self._pauses += 1
        if self._pauses > PAUSES_MAX and len(self._waiting) > 1:
            self._pauses = 0
            looks = {tenant: sum(waiting.values()) for tenant, waiting in self._waiting.items()}
            tenant = max(looks, key=looks.__getitem__)
            if looks[tenant] and self._tasks is not None:
                self._part(tenant, self._tasks)

    def _part(self, tenant: str, tasks: asyncio.TaskGroup) -> None:
        """Give a tenant a lane of its own, where its streams go as soon as they have looked by themselves."""
        live = Live(self._tail, more_to_come=self._more_to_come)
        if self._draining:
            live.drain()
        self._own[tenant] = (live, tasks.create_task(live.run()))
        links = list(self._waiting[tenant])
        self._shared.let_go(set(links))
        tasks.create_task(wake(links))

    def _close_if_empty(self, tenant: str) -> None:
        if tenant in self._own and not self._own[tenant][0].streams:
            self._own.pop(tenant)[1].cancel()


def looks_of(query: Query) -> int:
    """How many look-ups it may take to compare a fact with the items that no index answers."""
    return sum([item.looks for item in query.items if not is_told_by_key(item)])


async def wake(links: list[Link]) -> None:
    for place, link in enumerate(links):
        link.wake()
        if place % WOKEN_AT_ONCE == 0:
            await asyncio.sleep(0)
