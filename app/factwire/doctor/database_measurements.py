"""Measurements and trials of the database: properties that it does not report. They change nothing.

They are checks of `factwire doctor`, like those in database_checks.py.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex

import asyncpg

from factwire.doctor.database_checks import ROUND_TRIP, connect, time_of
from factwire.doctor.finding import Finding, note, ok, wrong
from factwire.domain.fact import utc
from factwire.domain.position import Cursor, Position
from factwire.postgres_url import target_of
from factwire.store.connection import Connection
from factwire.store.connection_errors import explain_failure
from factwire.store.notifications import NOTIFY
from factwire.store.partitions import read_room
from factwire.store.requirements import GRANTED_TWICE, lock_excludes

SLOW_COMMIT_SECONDS = 0.010
CLOCK_SECONDS = 1.0
HINT_SECONDS = 3.0
WAL_BYTES = 8 * 1024**3
BUFFERS_DEFAULT_BYTES = 128 * 1024**2

MEMORY = """
select pg_size_bytes(current_setting('shared_buffers')) as buffers,
       pg_size_bytes(current_setting('max_wal_size')) as wal,
       coalesce((select sum(pg_indexes_size(c.oid)) from pg_class c
          where c.relnamespace = to_regnamespace('factwire')
            and (c.relname = 'fact_ids' or c.oid = (
              select inhrelid from pg_inherits where inhparent = (
                select oid from pg_class where relnamespace = to_regnamespace('factwire') and relname = 'fact_tags')
              order by pg_relation_size(inhrelid) desc limit 1))), 0)::bigint as indexes
"""

# A separate transaction that changes nothing but must be flushed to disk like a transaction of the service.
COMMIT = "select pg_logical_emit_message(true, 'factwire doctor', '')"

# The transaction stays open, so that a pooler cannot take the server connection back.
HOLD = "begin; select 1"

CLOCK = "select clock_timestamp()"

LOG_STATE = """
select l.epoch, factwire.head() as head, (select published_at from factwire.facts where position = $1) as published_at
  from factwire.log l
"""

OLDEST_TRANSACTION = """
select since, detail, pg_has_role('pg_read_all_stats', 'usage') as sees_all
  from (select xact_start as since, format('process %s of role %s, %s', pid, usename, state) as detail
          from pg_stat_activity
         where backend_type = 'client backend' and pid <> pg_backend_pid() and xact_start is not null
        union all
        select prepared, format('prepared transaction %s of role %s', gid, owner) from pg_prepared_xacts) as open
 order by since
 limit 1
"""


@dataclass(frozen=True, slots=True)
class LogHead:
    """End of a log, and publication time of the fact at one position (None if that fact does not exist)."""

    end: Cursor
    published_at: str | None


async def read_log_head(connection: Connection, *, at: Position) -> LogHead | None:
    """State of the log; None if no log exists."""
    try:
        row = await connection.fetchrow(LOG_STATE, at)
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError):
        return None
    if row is None:
        return None
    return LogHead(Cursor(row["epoch"], row["head"]), row["published_at"] and utc(row["published_at"]))


async def weigh_memory(connection: Connection) -> AsyncIterator[Finding]:
    row = await connection.fetchrow(MEMORY)
    assert row is not None
    buffers, wal, indexes = (row[name] // 1024**2 for name in ("buffers", "wal", "indexes"))
    detail = f"shared_buffers {buffers} MiB, for {indexes} MiB of busy indexes; max_wal_size {wal} MiB"
    changes = []
    if row["buffers"] <= max(BUFFERS_DEFAULT_BYTES, row["indexes"]):
        changes.append("set shared_buffers to a quarter of the memory and restart")
    if row["wal"] < WAL_BYTES:
        changes.append("set max_wal_size to 8GB if much is published")
    yield note("memory", detail, "; ".join(changes)) if changes else ok("memory", detail)


async def measure_room(connection: Connection) -> AsyncIterator[Finding]:
    try:
        room, partition_facts = await read_room(connection)
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedTableError, asyncpg.InsufficientPrivilegeError):
        return  # reported by the checks of schema and rights
    detail = f"{room} more facts fit into the partitions"
    if room >= partition_facts // 2:
        yield ok("partitions", detail)
    else:
        change = "a running service creates the next one: start it, or read the cause in its log and in PostgreSQL's"
        yield wrong("partitions", detail, change)


async def time_commits(connection: Connection) -> AsyncIterator[Finding]:
    if await connection.fetchval("select pg_is_in_recovery()"):
        return
    seconds = await time_of(connection, COMMIT)
    detail = (
        f"a commit takes {seconds * 1000:.2f} ms: one client alone publishes at most {1 / seconds:.0f} times a second"
    )
    if seconds > SLOW_COMMIT_SECONDS:
        yield note(
            "commits", detail, "send batches or publish from several clients; a faster disk or nearer standby helps"
        )
    else:
        yield ok("commits", detail)


async def compare_clocks(connection: Connection) -> AsyncIterator[Finding]:
    before = datetime.now(UTC)
    theirs: datetime = await connection.fetchval(CLOCK)
    after = datetime.now(UTC)
    ahead = (theirs - before - (after - before) / 2).total_seconds()
    detail = f"the database's is {abs(ahead):.3f} s {'ahead' if ahead > 0 else 'behind'}"
    if abs(ahead) > CLOCK_SECONDS:
        yield note("clocks", detail, "let NTP set both: published_at is the time of the database")
    else:
        yield ok("clocks", detail)


async def find_old_transactions(connection: Connection, *, seconds_max: float = 60) -> AsyncIterator[Finding]:
    row = await connection.fetchrow(OLDEST_TRANSACTION)
    age = (await connection.fetchval(CLOCK) - row["since"]).total_seconds() if row else 0
    if row and age > seconds_max:
        detail = f"{row['detail']}, has had a transaction open for {age:.0f} s"
        yield note(
            "transactions", detail, "end it: vacuum waits for it, in all databases of the server, and so may migrate"
        )
    elif row and not row["sees_all"]:
        yield ok("transactions", "none is old, as far as this role sees (pg_read_all_stats sees all)")
    else:
        yield ok("transactions", "none is old")


async def try_statements(connection: Connection, *, url: str) -> AsyncIterator[Finding]:
    """Check that a prepared statement survives if a pooler gives its server connection to another client."""
    if target_of(url).pooled:
        yield ok("statements", "none has a name, as transactions are pooled")
        return
    other = await connect(url)
    try:
        prepared = await connection.prepare(ROUND_TRIP)
        await prepared.fetchval()
        await other.execute(HOLD)  # takes the server connection that was returned last
        await prepared.fetchval()
        yield ok("statements", "prepared statements stay")
    except asyncpg.InvalidSQLStatementNameError:
        change = "add pgbouncer=true to FACTWIRE_DATABASE_URL, or turn on max_prepared_statements (PgBouncer 1.21)"
        yield wrong("statements", "a pooler loses prepared statements: requests will fail", change)
    finally:
        other.terminate()


async def try_lock(connection: Connection, *, url: str) -> AsyncIterator[Finding]:
    """Check that an advisory lock held by one session is refused to another session."""
    other = await connect(url)
    try:
        excludes = await lock_excludes(connection, other)
    finally:
        other.terminate()
    if excludes:
        yield ok("lock", "an advisory lock that one session holds is refused to others")
    else:
        change = "use PostgreSQL itself, or see which functions shadow pg_advisory_xact_lock in the search_path"
        yield wrong("lock", GRANTED_TWICE, change)


async def try_listening(
    connection: Connection, *, listen_url: str, own_url: bool, poll_seconds: float
) -> AsyncIterator[Finding]:
    """Check that a notification reaches a listener: a transaction pooler or another database drops it."""
    if await connection.fetchval("select pg_is_in_recovery()"):
        return
    arrived = asyncio.Event()
    channel = f"factwire_doctor_{token_hex(8)}"
    try:
        listening = await connect(listen_url)
    except Exception as error:
        detail, change = explain_failure(error)
        yield wrong("listening", detail, change.replace("FACTWIRE_DATABASE_URL", "FACTWIRE_LISTEN_URL"))
        return
    try:
        await listening.add_listener(channel, lambda *_: arrived.set())
        began = time.perf_counter()
        await connection.execute(NOTIFY, channel, "")
        await asyncio.wait_for(arrived.wait(), HINT_SECONDS)
        yield ok("listening", f"a notification arrives after {(time.perf_counter() - began) * 1000:.1f} ms")
    except TimeoutError:
        detail = f"notifications do not arrive: facts of other processes are seen after up to {poll_seconds:g} s"
        if own_url:
            yield wrong(
                "listening", detail, "let FACTWIRE_LISTEN_URL lead to the same database, without a pooler between"
            )
        else:
            yield note("listening", detail, "give a direct URL of the server, past the pooler, as FACTWIRE_LISTEN_URL")
    finally:
        listening.terminate()
