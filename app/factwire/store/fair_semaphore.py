"""Fair semaphore: limits concurrency, and schedules tenants by the time that each of them has used."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import perf_counter

from factwire.domain.errors import Unavailable


def share_of(at_once: int) -> int:
    """Largest share of one tenant: three quarters, so that there is always room for the others."""
    return at_once - max(1, at_once // 4) if at_once > 1 else 1


@dataclass(slots=True, eq=False)
class TenantWaiters:
    """Waiting requests of one tenant, the number of its running ones, and the virtual start time of its next one."""

    starts_at: float
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    running: int = 0


class FairSemaphore:
    """Semaphore with a total limit and a limit per tenant; of the tenants that wait, the one that used least is next.

    Start-time fair queueing, like FairQueue for publishes. The cost of a turn is the time that it took, which is known
    only afterwards. A tenant that returns after a pause has saved nothing up.
    """

    def __init__(
        self, at_once: int, *, share: int, wait_seconds: float, refusal: str = "Too many reads are under way."
    ) -> None:
        self._refusal = refusal
        self._free = at_once
        self._share = share
        self._wait_seconds = wait_seconds
        self._lines: dict[str, TenantWaiters] = {}
        self._present = 0
        self._now = 0.0

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """Wait for a turn, and keep it for the block. Raises Unavailable if the wait takes too long."""
        line = await self._enter(tenant)
        began_at = perf_counter()  # the loop's clock counts whole milliseconds, and most reads are shorter
        try:
            yield
        finally:
            line.starts_at += perf_counter() - began_at
            self._leave(tenant, line)

    async def _enter(self, tenant: str) -> TenantWaiters:
        line = self._lines.get(tenant)
        if line is None:
            line = self._lines[tenant] = TenantWaiters(self._now)
        if not line.running and not line.waiting:
            line.starts_at = max(line.starts_at, self._now)
        self._present += 1
        if self._free > 0 and line.running < self._share:
            self._begin(line)
            return line
        place = asyncio.get_running_loop().create_future()
        line.waiting.append(place)
        try:
            async with asyncio.timeout(self._wait_seconds):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():  # it got its turn at this very moment
                self._leave(tenant, line)
            else:
                with suppress(ValueError):
                    line.waiting.remove(place)
                self._go(tenant, line)
            if isinstance(error, TimeoutError):
                raise Unavailable(self._refusal) from None
            raise
        return line

    def _begin(self, line: TenantWaiters) -> None:
        self._free -= 1
        line.running += 1
        self._now = max(self._now, line.starts_at)

    def _leave(self, tenant: str, line: TenantWaiters) -> None:
        self._free += 1
        line.running -= 1
        self._go(tenant, line)
        while self._free > 0:
            ready = [line for line in self._lines.values() if line.waiting and line.running < self._share]
            if not ready:
                return
            first = min(ready, key=lambda line: line.starts_at)
            place = first.waiting.popleft()
            if not place.done():  # otherwise the waiting caller is gone
                self._begin(first)
                place.set_result(None)

    def _go(self, tenant: str, line: TenantWaiters) -> None:
        """Remove a request. A tenant that owes no time is forgotten, and all tenants are once no request is left."""
        self._present -= 1
        if not self._present:
            self._lines.clear()
            self._now = 0.0
        elif not line.running and not line.waiting and line.starts_at <= self._now and self._lines.get(tenant) is line:
            del self._lines[tenant]  # unless it was forgotten before, and a later request began a new one
