"""Connections to PostgreSQL: one to append, some for the tail, to read and to manage. Nobody else opens any.

With them go the master keys, which open what is stored sealed.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from factwire.domain.errors import LogDamaged, Unavailable
from factwire.postgres_url import target_of
from factwire.store.connection import CONNECT_SECONDS, SESSION, connect_arguments, keep_from_switching
from factwire.store.encryption.keys import NO_KEYS, MasterKeys
from factwire.store.fair_semaphore import FairSemaphore, share_of

log = logging.getLogger(__name__)

FAILURE_SECONDS = 30.0  # a lane that nobody uses after it failed says nothing of the database any more
MOMENTS_SECONDS = 2.0

MANAGING_CONNECTIONS = 2

UNLIMITED = nullcontext()

CONNECTION_FAILURES = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the session was ended, and the connection is about to be closed
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.LockNotAvailableError,
    # While a fail-over is under way, no host of the URL may be the primary, or the one in use is none any more.
    asyncpg.TargetServerAttributeNotMatched,
    asyncpg.ReadOnlySQLTransactionError,
    # The schema is missing or older than this version: somebody has yet to migrate it.
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    # A pooler gave the statement's name to another session: see `pgbouncer=true` in docs/operations.md.
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.DuplicatePreparedStatementError,
    # The role may not do it: somebody has yet to grant it.
    asyncpg.InsufficientPrivilegeError,
    # The server gave the transaction up: a deadlock, or on a standby a conflict with what it receives.
    asyncpg.TransactionRollbackError,
    # It could not read its own files, or found them damaged.
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,
)

DAMAGED_SQLSTATE = "FW005"
STANDBY_WAIT = "SyncRepWaitForLSN"

# They tell of what others did at the same time, not of a database that cannot be used.
FOR_OTHERS = (asyncpg.LockNotAvailableError, asyncpg.TransactionRollbackError)

# After these a connection is of no use. It leads to a standby by now, and the next one finds the primary; or the server
# did not even end the statement at its own time limit, and will not answer a request to cancel it either; or the
# session was ended.
USELESS = (asyncpg.ReadOnlySQLTransactionError, asyncpg.InternalClientError, TimeoutError)

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
"""What the functions of the store take first."""


IN_RECOVERY = "select pg_is_in_recovery()"

# glibc gives a freed block above a threshold back to the system at once, and the next page of history takes a fault for
# every 4 KiB of it: 3.0 instead of 0.9 us of the server's CPU a fact. Freeing one larger block raises the threshold for
# the life of the session. https://man7.org/linux/man-pages/man3/mallopt.3.html, M_MMAP_THRESHOLD
KEEP_MEMORY = "select octet_length(repeat(' ', 4194304))"


async def is_standby(connection: Connection) -> bool:
    """Whether the server is a standby, on which nothing can be written. One that is promoted keeps its sessions."""
    return bool(await connection.fetchval(IN_RECOVERY))


class CommitInDoubt(Exception):
    """The server committed, but warned that the commit may not survive."""


class UnchangedConnection(asyncpg.Connection):
    """A connection whose session the service never changes, so that nothing needs a reset between two uses."""

    def get_reset_query(self) -> str:
        return ""


class Pool:
    """A small pool for one purpose. Every wait has a time limit; a lost connection is replaced at the next use.

    Of the connections for reads one tenant has at most a `share`.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        connections_max: int,
        statement_seconds: float,
        wait_seconds: float,
        first_statement: str = "",
        share: int | None = None,
    ) -> None:
        target = target_of(url)
        self._url, self._pooled = target
        self._first_statement = first_statement
        self.name = name
        self._limits = {
            **SESSION,
            "statement_timeout": f"{int(statement_seconds * 1000)}ms",
            "lock_timeout": f"{int(wait_seconds * 1000)}ms",
        }
        self._connections_max = connections_max
        self._turns = FairSemaphore(connections_max, share=share or connections_max, wait_seconds=wait_seconds)
        self._statement_seconds = statement_seconds
        self._wait_seconds = wait_seconds
        self._pool: asyncpg.Pool
        self._failed = False
        self._failed_at = -math.inf
        self.refused_writes = False

    @property
    def used(self) -> int:
        """Connections that are lent."""
        return self._pool.get_size() - self._pool.get_idle_size()

    @property
    def idle(self) -> int:
        """Connections that are open and not lent."""
        return self._pool.get_idle_size()

    @property
    def failing(self) -> bool:
        """Whether the last use failed, or one a moment ago: old sessions may go on where no new one begins."""
        since = time.monotonic() - self._failed_at
        return since < MOMENTS_SECONDS or (self._failed and since < FAILURE_SECONDS)

    def record_use(self, failure: BaseException | None) -> None:
        """Keep what a use says of the database. That it waited in vain for others to finish says nothing.

        `refused_writes` is whether the last failure is one that every standby gives to whoever writes.
        """
        if failure is None:
            self._failed = False
        elif isinstance(failure, CONNECTION_FAILURES) and not isinstance(failure, FOR_OTHERS):
            self._failed, self._failed_at = True, time.monotonic()
            self.refused_writes = isinstance(failure, asyncpg.ReadOnlySQLTransactionError)

    async def open(self) -> None:
        """Prepare the lane; connections are made at their first use, so that the service starts without a database."""
        self._pool = await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self._connections_max,
            timeout=CONNECT_SECONDS,
            command_timeout=self._statement_seconds + 5,
            max_inactive_connection_lifetime=0,
            connection_class=UnchangedConnection,
            init=self._begin,
            **connect_arguments(self._pooled, self._limits, application_name=f"factwire {self.name}"),
        )

    async def _begin(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        keep_from_switching(connection)
        if self._first_statement:
            await connection.execute(self._first_statement)

    async def close(self) -> None:
        try:
            await asyncio.wait_for(self._pool.close(), CONNECT_SECONDS)
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection. Whatever fails before it is lent is Unavailable: nothing was asked of the database."""
        connection = await self.take()
        try:
            async with self.limited(connection):
                yield connection
            self.record_use(None)
        except Exception as error:
            self.record_use(error)
            if isinstance(error, USELESS):
                connection.terminate()
            raise
        finally:
            await self.give_back(connection)

    def limited(self, connection: Connection) -> AbstractAsyncContextManager[None]:
        """Where transactions are pooled, one transaction with the limits that else are those of the session."""
        return self._transaction(connection) if self._pooled else UNLIMITED

    @asynccontextmanager
    async def _transaction(self, connection: Connection) -> AsyncIterator[None]:
        async with connection.transaction(isolation="read_committed"):
            limits = [f"set local {name} = '{value}'" for name, value in self._limits.items()]
            await connection.execute("; ".join(limits))
            yield

    def held_connection(self) -> "HeldConnection":
        """For one user who works all the time: the connection is not given back in between."""
        return HeldConnection(self)

    async def take(self) -> "PoolConnectionProxy[asyncpg.Record]":
        """Take a connection. Whatever fails before that is Unavailable: nothing was asked of the database."""
        try:
            return await self._pool.acquire(timeout=self._wait_seconds)
        except CONNECTION_FAILURES as error:
            if self.used < self._connections_max:
                self.record_use(error)
            raise Unavailable("The database cannot be reached.") from error

    async def give_back(self, connection: "PoolConnectionProxy[asyncpg.Record]") -> None:
        """Give a connection back. One that does not come to rest in time is ended; its user has his outcome already."""
        with suppress(*CONNECTION_FAILURES):
            await self._pool.release(connection, timeout=CONNECT_SECONDS)

    @asynccontextmanager
    async def acquire(self, tenant: str = "") -> AsyncIterator[Connection]:
        """Lend a connection for reads: a failure on the way is Unavailable as well, since reads change nothing.

        Tenants take turns; the work that is nobody's request is one of them.
        """
        try:
            async with self._turns.turn(tenant), self.connection() as connection:
                yield connection
        except (*CONNECTION_FAILURES, asyncpg.QueryCanceledError) as error:
            if isinstance(error, asyncpg.PostgresSystemError | asyncpg.InternalServerError):
                log.error("the database cannot read what it stores: %s", error)
            raise Unavailable("The database did not answer.") from error
        except asyncpg.PostgresError as error:
            damage = damage_of(error)
            if damage is None:
                raise
            log.error("%s", error)
            raise damage from error


def damage_of(error: Exception) -> LogDamaged | None:
    """What a statement says that came by a missing fact."""
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate == DAMAGED_SQLSTATE:
        return LogDamaged(f"{str(error)[:1].upper()}{str(error)[1:]}.")
    return None


class HeldConnection:
    """Keeps one connection of a lane until something fails on it, and then takes another one."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._kept: PoolConnectionProxy[asyncpg.Record] | None = None
        self._warning = ""

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[Connection]:
        """Lend the connection, like Lane.connection. Raises CommitInDoubt where the wait for the standby was cancelled.

        Such a commit is done, and a fail-over may lose it (https://www.postgresql.org/docs/current/warm-standby.html).
        It is told by a warning in the server's language and without a code of its own, as anybody's trigger may send
        one: the server's function that sends it is what makes it known.
        """
        if self._kept is None or not is_open(self._kept):
            await self.aclose()
            self._kept = await self._pool.take()
            self._kept.add_log_listener(self._hear)
        self._warning = ""
        try:
            async with self._pool.limited(self._kept):
                yield self._kept
            self._pool.record_use(None)
            if self._warning:
                raise CommitInDoubt(self._warning)
        except BaseException as error:
            self._pool.record_use(error)
            if isinstance(error, USELESS):
                self._kept.terminate()
            await self.aclose()
            raise

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


@dataclass(frozen=True, slots=True)
class Pools:
    """The lanes of one process, so that reads never wait for publishes nor the tail for either.

    `managing` is for sign-in, tickets, keys and erasures: whoever comes in does not wait for what others read.
    """

    url: str
    append: Pool
    read: Pool
    manage: Pool
    watch: Pool
    master_keys: MasterKeys = NO_KEYS

    async def open(self) -> None:
        for pool in self.all():
            await pool.open()

    async def close(self) -> None:
        for pool in self.all():
            await pool.close()

    def all(self) -> tuple[Pool, ...]:
        return (self.append, self.read, self.manage, self.watch)


def new_pools(
    url: str,
    *,
    read_connections_max: int,
    read_seconds: float,
    append_seconds: float,
    master_keys: MasterKeys = NO_KEYS,
) -> Pools:
    return Pools(
        url=url,
        append=Pool(url, name="append", connections_max=1, statement_seconds=append_seconds, wait_seconds=5.0),
        read=Pool(
            url,
            name="read",
            connections_max=read_connections_max,
            statement_seconds=read_seconds,
            wait_seconds=5.0,
            first_statement=KEEP_MEMORY,
            share=share_of(read_connections_max),
        ),
        manage=Pool(
            url, name="manage", connections_max=MANAGING_CONNECTIONS, statement_seconds=read_seconds, wait_seconds=5.0
        ),
        watch=Pool(url, name="watch", connections_max=3, statement_seconds=read_seconds, wait_seconds=5.0),
        master_keys=master_keys,
    )
