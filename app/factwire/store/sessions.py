"""Browser sessions, which are valid in every process until they end."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from factwire.store.connection import Connection

# Sessions that begin at the same time do not see each other: their excess is left to the next one. Rows that another
# process is deleting are skipped.
BEGIN_SESSION = """
with excess as materialized (
  select digest
    from factwire.sessions
   where expires_at > clock_timestamp()
     and starts_with(principal, $4)
   order by expires_at desc
  offset $5 - 1
), ended as (
  delete from factwire.sessions
   where digest in (select s.digest
                      from factwire.sessions s
                     where s.digest in (select digest from excess)
                       for update skip locked)
)
insert into factwire.sessions (digest, principal, expires_at, session)
values ($1, $2, clock_timestamp() + $3, $6)
returning expires_at
"""

FIND_SESSION = """
select principal, expires_at
  from factwire.sessions
 where digest = $1
   and expires_at > clock_timestamp()
"""

LIVE_SESSIONS = "select digest from factwire.sessions where digest = any($1) and expires_at > clock_timestamp()"

# The tickets and sessions that came from it are deleted too, by ON DELETE CASCADE in the schema.
END_SESSION = "delete from factwire.sessions where digest = $1"

# Rows that another process is deleting are skipped.
FORGET_SESSIONS = """
delete from factwire.sessions
 where digest in (select s.digest
                    from factwire.sessions s
                   where s.expires_at < clock_timestamp()
                   limit $1
                     for update skip locked)
"""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """Stored session: its principal as it was written, and the time of its end."""

    principal: str
    expires_at: datetime


async def begin_session(
    connection: Connection,
    digest: bytes,
    *,
    principal: str,
    owner: str,
    sessions_max: int,
    seconds: float,
    session: bytes | None,
) -> datetime:
    """Store a session and return when it expires. It ends at the latest with the session from which it came, if any.

    Of the sessions with a principal that begins with `owner`, those that would end first make room for it. Raises
    asyncpg.ForeignKeyViolationError if the session from which it came has ended.
    """
    expires_at: datetime = await connection.fetchval(
        BEGIN_SESSION, digest, principal, timedelta(seconds=seconds), owner, sessions_max, session
    )
    return expires_at


async def find_session(connection: Connection, digest: bytes) -> StoredSession | None:
    row = await connection.fetchrow(FIND_SESSION, digest)
    return None if row is None else StoredSession(**row)


async def live_sessions(connection: Connection, digests: Collection[bytes]) -> set[bytes]:
    """Those of several sessions that have not ended."""
    return {row["digest"] for row in await connection.fetch(LIVE_SESSIONS, list(digests))}


async def end_session(connection: Connection, digest: bytes) -> None:
    await connection.execute(END_SESSION, digest)


async def delete_expired_sessions(connection: Connection, *, sessions_max: int) -> None:
    """Delete at most `sessions_max` sessions that have ended."""
    await connection.execute(FORGET_SESSIONS, sessions_max)
