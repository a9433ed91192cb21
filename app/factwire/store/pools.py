"""Connection pools for PostgreSQL: one connection to append, and some for the tail, to read and to manage.

The service opens no other connections, except to listen for notifications and to migrate. The pools also carry the
master keys, which decrypt sealed payloads.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from factwire.domain.errors import LogDamaged, Unavailable
from factwire.domain.position import Position
from factwire.postgres_url import target_of
from factwire.store.connection import CONNECT_SECONDS, SESSION, Connection, connect_arguments, keep_from_switching
from factwire.store.encryption.keys import NO_KEYS, MasterKeys
from factwire.store.fair_semaphore import FairSemaphore, share_of

log = logging.getLogger(__name__)

FAILURE_SECONDS = 30.0  # after this time, the failure of an unused pool shows nothing about the database
MOMENTS_SECONDS = 2.0

MANAGING_CONNECTIONS = 2
SUBSCRIPTION_CONNECTIONS = 4

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
    # During a fail-over, it is possible that no host of the URL is the primary, or that the one in use is not any more.
    asyncpg.TargetServerAttributeNotMatched,
    asyncpg.ReadOnlySQLTransactionError,
    # The schema is missing or older than this version: it must be migrated first.
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    # A connection pooler gave the statement's name to another session: see `pgbouncer=true` in docs/operations.md.
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.DuplicatePreparedStatementError,
    # The role lacks a privilege, which must be granted first.
    asyncpg.InsufficientPrivilegeError,
    # The server aborted the transaction: a deadlock, or on a standby a conflict with the changes that it receives.
    asyncpg.TransactionRollbackError,
    # The server could not read its own files, or found them damaged.
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,
)

DAMAGED_SQLSTATE = "FW005"

# Failures caused by concurrent transactions, not by an unusable database.
FOR_OTHERS = (asyncpg.LockNotAvailableError, asyncpg.TransactionRollbackError)

# After these errors a connection is unusable. It now leads to a standby, and the next one finds the primary; or the
# server did not end the statement at its own time limit, and will not answer a cancel request either; or the session
# was ended.
USELESS = (asyncpg.ReadOnlySQLTransactionError, asyncpg.InternalClientError, TimeoutError)


IN_RECOVERY = "select pg_is_in_recovery()"

# glibc returns a freed block above a threshold to the system at once, and the next page of history takes a page fault
# for every 4 KiB of it: 3.0 instead of 0.9 us of server CPU per fact. Freeing one larger block raises the threshold for
# the lifetime of the session. https://man7.org/linux/man-pages/man3/mallopt.3.html, M_MMAP_THRESHOLD
KEEP_MEMORY = "select octet_length(repeat(' ', 4194304))"


async def is_standby(connection: Connection) -> bool:
    """True if the server is a standby, which accepts no writes. A standby that is promoted keeps its sessions."""
    return bool(await connection.fetchval(IN_RECOVERY))


class UnchangedConnection(asyncpg.Connection):
    """A connection with a session that the service never changes, so that it needs no reset between two uses."""

    def get_reset_query(self) -> str:
        return ""


class Pool:
    """A small connection pool for one purpose. Every wait has a time limit; a lost connection is replaced at next use.

    Of the connections for reads, one tenant uses at most `share` at a time.
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
        """Number of connections in use."""
        return self._pool.get_size() - self._pool.get_idle_size()

    @property
    def idle(self) -> int:
        """Number of connections that are open and not in use."""
        return self._pool.get_idle_size()

    @property
    def failing(self) -> bool:
        """True if the last use failed, or one a moment ago: old sessions can work while no new one can begin."""
        since = time.monotonic() - self._failed_at
        return since < MOMENTS_SECONDS or (self._failed and since < FAILURE_SECONDS)

    def record_use(self, failure: BaseException | None) -> None:
        """Record the outcome of a use, to detect an unusable database. Waiting in vain for others is not counted.

        `refused_writes` is true if the last failure is the one with which every standby refuses a write.
        """
        if failure is None:
            self._failed = False
        elif isinstance(failure, CONNECTION_FAILURES) and not isinstance(failure, FOR_OTHERS):
            self._failed, self._failed_at = True, time.monotonic()
            self.refused_writes = isinstance(failure, asyncpg.ReadOnlySQLTransactionError)

    async def open(self) -> None:
        """Prepare the pool; connections are made at their first use, so that the service starts without a database."""
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
        """Lend a connection. Raises Unavailable if none can be lent: no statement was sent to the database."""
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
        """If transactions are pooled, one transaction that sets the limits; otherwise the session has them."""
        return self._transaction(connection) if self._pooled else UNLIMITED

    @asynccontextmanager
    async def _transaction(self, connection: Connection) -> AsyncIterator[None]:
        async with connection.transaction(isolation="read_committed"):
            limits = [f"set local {name} = '{value}'" for name, value in self._limits.items()]
            await connection.execute("; ".join(limits))
            yield

    async def take(self) -> "PoolConnectionProxy[asyncpg.Record]":
        """Take a connection. Raises Unavailable if that fails: no statement was sent to the database."""
        try:
            return await self._pool.acquire(timeout=self._wait_seconds)
        except CONNECTION_FAILURES as error:
            if self.used < self._connections_max:
                self.record_use(error)
            raise Unavailable("The database cannot be reached.") from error

    async def give_back(self, connection: "PoolConnectionProxy[asyncpg.Record]") -> None:
        """Return a connection. One that does not become idle in time is closed; its user already has the outcome."""
        with suppress(*CONNECTION_FAILURES):
            await self._pool.release(connection, timeout=CONNECT_SECONDS)

    @asynccontextmanager
    async def acquire(self, tenant: str = "") -> AsyncIterator[Connection]:
        """Lend a connection for reads. A failure during its use is Unavailable as well, since reads change nothing.

        Tenants take turns; work that belongs to no request counts as one tenant.
        """
        try:
            async with self._turns.turn(tenant), self.connection() as connection:
                yield connection
        except (*CONNECTION_FAILURES, asyncpg.QueryCanceledError) as error:
            if isinstance(error, asyncpg.PostgresSystemError | asyncpg.InternalServerError):
                log.error("the database cannot read stored data: %s", error)
            raise Unavailable("The database did not answer.") from error
        except asyncpg.PostgresError as error:
            damage = damage_of(error)
            if damage is None:
                raise
            log.error("%s", error)
            raise damage from error


def damage_of(error: Exception) -> LogDamaged | None:
    """LogDamaged if a statement failed because of a missing fact, otherwise None."""
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate == DAMAGED_SQLSTATE:
        return LogDamaged(f"{str(error)[:1].upper()}{str(error)[1:]}.")
    return None


@dataclass(frozen=True, slots=True)
class Pools:
    """The connection pools of one process, so that reads never wait for publishes, nor the tail for either.

    `manage` is for sign-in, tickets, keys and erasures: these do not wait for the reads of others. `subscriptions` is
    for claims and acknowledgements, which wait for each other within a subscription.
    """

    url: str
    append: Pool
    reads: Pool
    manage: Pool
    watch: Pool
    subscriptions: Pool
    master_keys: MasterKeys = NO_KEYS

    async def open(self) -> None:
        for pool in self.all():
            await pool.open()

    async def close(self) -> None:
        for pool in self.all():
            await pool.close()

    def read(self, tenant: str = "", *, at_least: Position | None = None) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection for reads, to a server that has the log at least up to a position; see Pool.acquire.

        None asks for every commit that was acknowledged before the call. At present all reads go to the primary, which
        has both; a standby may serve those whose position it has.
        """
        return self.reads.acquire(tenant)

    def all(self) -> tuple[Pool, ...]:
        return (self.append, self.reads, self.manage, self.watch, self.subscriptions)


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
        reads=Pool(
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
        subscriptions=Pool(
            url,
            name="subscription",
            connections_max=SUBSCRIPTION_CONNECTIONS,
            statement_seconds=read_seconds,
            wait_seconds=5.0,
        ),
        master_keys=master_keys,
    )
