"""Moments: the state of the log, read once for all who ask while a read is under way."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from factwire.domain.errors import StandbyBehind
from factwire.domain.grants import EVERY_NAMESPACE, NamespaceSet
from factwire.domain.position import Bound, Cursor
from factwire.store.log import Log, LogState, read_log, resolve
from factwire.store.pools import Pools

STANDBY_SECONDS = 2.0
LOOK_SECONDS = 0.05

T = TypeVar("T")


async def retry_until_received(look: Callable[[], Awaitable[T]]) -> T:
    """What a look at the log finds, repeated for a moment where a standby has yet to receive what was asked for.

    A client that has its cursor from the primary is often milliseconds ahead of the standby. Raises StandbyBehind. The
    look takes a connection of its own each time, so that whoever waits here keeps nobody from reading.
    """
    clock = asyncio.get_running_loop().time
    give_up_at = clock() + STANDBY_SECONDS
    while True:
        try:
            return await look()
        except StandbyBehind:
            if clock() >= give_up_at:
                raise
        await asyncio.sleep(LOOK_SECONDS * random.uniform(1, 2))


class LogStateReader:
    """Answers where a bound lies. A herd of streams that come back together shares a few reads instead of queueing."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._reading = asyncio.Lock()
        self._next: asyncio.Task[Log] | None = None

    async def locate(self, bound: Bound, readable: NamespaceSet = EVERY_NAMESPACE) -> LogState:
        """Where a bound lies, at a moment after the question. Raises what resolve raises, and Unavailable."""
        return await retry_until_received(lambda: self._locate(bound, readable))

    async def _locate(self, bound: Bound, readable: NamespaceSet) -> LogState:
        if not isinstance(bound, str | Cursor):
            async with self._pools.read.acquire() as connection:
                return await resolve(connection, bound, readable)
        if self._next is None:
            self._next = asyncio.create_task(self._read())
        return (await asyncio.shield(self._next)).locate(bound)

    async def _read(self) -> Log:
        async with self._reading:
            # Who asks from here on wants to know of facts that this read may not see, and gets the next one.
            self._next = None
            async with self._pools.read.acquire() as connection:
                return await read_log(connection)
