"""Sessions of browsers: good in every process until they end."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from factwire.store.pools import Connection

# One of several that begin at once does not see the others, whose excess is left to the next one. Rows that another
# process is deleting are left to it.
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

# With it go the tickets and sessions that came from it: the schema sees to that.
END_SESSION = "delete from factwire.sessions where digest = $1"

# Rows that another process is deleting are left to it.
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
    """Whose a session is, as it was written, and when it ends."""

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
    """Keep a session, and return when it ends: with the session from which it came, if there is one, at the latest.

    Of the sessions whose principal begins with `owner`, the ones that would end first make room for it. Raises
    asyncpg.ForeignKeyViolationError where the one from which it comes has ended.
    """
    expires_at: datetime = await connection.fetchval(
        BEGIN_SESSION, digest, principal, timedelta(seconds=seconds), owner, sessions_max, session
    )
    return expires_at


async def find_session(connection: Connection, digest: bytes) -> StoredSession | None:
    row = await connection.fetchrow(FIND_SESSION, digest)
    return None if row is None else StoredSession(**row)


async def live_sessions(connection: Connection, digests: Collection[bytes]) -> set[bytes]:
    """Which of several sessions have not ended."""
    return {row["digest"] for row in await connection.fetch(LIVE_SESSIONS, list(digests))}


async def end_session(connection: Connection, digest: bytes) -> None:
    await connection.execute(END_SESSION, digest)


async def forget_sessions(connection: Connection, *, sessions_max: int) -> None:
    """Delete sessions that have ended."""
    await connection.execute(FORGET_SESSIONS, sessions_max)
