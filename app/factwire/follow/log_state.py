"""Single-flight read of the log state (head and epoch): concurrent callers share one query."""

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
    """Read the log, and retry for a moment if a standby has not yet received the position that was asked for.

    A client that has its cursor from the primary is often milliseconds ahead of the standby. Raises StandbyBehind. Each
    attempt takes a connection of its own, so that a caller that waits here does not keep others from reading.
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
    """Single-flight reader of the log state: streams that reconnect at once share a few reads instead of queueing."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._reading = asyncio.Lock()
        self._next: asyncio.Task[Log] | None = None

    async def locate(self, bound: Bound, readable: NamespaceSet = EVERY_NAMESPACE) -> LogState:
        """Locate a bound, at a moment after the call. Raises the errors that resolve raises, and Unavailable."""
        return await retry_until_received(lambda: self._locate(bound, readable))

    async def _locate(self, bound: Bound, readable: NamespaceSet) -> LogState:
        if not isinstance(bound, str | Cursor):
            async with self._pools.read() as connection:
                return await resolve(connection, bound, readable)
        if self._next is None:
            self._next = asyncio.create_task(self._read())
        return (await asyncio.shield(self._next)).locate(bound)

    async def _read(self) -> Log:
        async with self._reading:
            # A caller from here on may ask for facts that this read does not see, and gets the next read.
            self._next = None
            async with self._pools.read() as connection:
                return await read_log(connection)
