"""Held connection: one connection of a pool for one continuous user, as the publisher is."""

from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from factwire.store.connection import Connection
from factwire.store.pools import UNLIMITED, USELESS, Pool

STANDBY_WAIT = "SyncRepWaitForLSN"


class CommitInDoubt(Exception):
    """A commit that was made, but with a warning of the server that it may not survive."""


class HeldConnection:
    """One connection of a pool that is kept until something fails on it, and is then replaced.

    As a context manager it lends the connection for one use, like Pool.connection, and raises CommitInDoubt if the wait
    for the standby was cancelled. Such a commit is done, and a fail-over may lose it
    (https://www.postgresql.org/docs/current/warm-standby.html). The server reports it by a warning in its own language
    and without a distinct code, such as any trigger may send. It is therefore recognised by the function of the server
    that sends it.
    """

    # Methods instead of a generator with contextlib, which costs more: every publish passes here.

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._kept: PoolConnectionProxy[asyncpg.Record] | None = None
        self._limits: AbstractAsyncContextManager[None] = UNLIMITED
        self._warning = ""

    async def __aenter__(self) -> Connection:
        if self._kept is None or not is_open(self._kept):
            await self.aclose()
            self._kept = await self._pool.take()
            self._kept.add_log_listener(self._hear)
        self._warning = ""
        self._limits = self._pool.limited(self._kept)
        if self._limits is not UNLIMITED:
            try:
                await self._limits.__aenter__()
            except BaseException as error:
                await self._replace(error)
                raise
        return self._kept

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._limits is not UNLIMITED:
            try:
                await self._limits.__aexit__(kind, error, traceback)
            except BaseException as failure:
                await self._replace(failure)
                raise
        if error is not None:
            await self._replace(error)
            return
        self._pool.record_use(None)
        if self._warning:
            await self._replace(doubt := CommitInDoubt(self._warning))
            raise doubt

    async def _replace(self, failure: BaseException) -> None:
        """Give the connection back after a failure: the next use takes another one."""
        self._pool.record_use(failure)
        if self._kept is not None and isinstance(failure, USELESS):
            self._kept.terminate()
        await self.aclose()

    async def aclose(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            with suppress(asyncpg.InterfaceError):  # the pool has taken back a connection that the server closed
                kept.remove_log_listener(self._hear)
            await self._pool.give_back(kept)

    def _hear(self, connection: Connection, message: asyncpg.PostgresLogMessage) -> None:
        if getattr(message, "server_source_function", None) == STANDBY_WAIT:
            self._warning = message.message


def is_open(connection: "PoolConnectionProxy[asyncpg.Record]") -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:
        return False  # the pool has taken back a connection that the server closed
