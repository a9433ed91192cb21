"""Statistics for the metrics: the head of the log, and the queue for the advisory lock that orders its appends."""

from dataclasses import dataclass

from factwire.domain.position import Position
from factwire.store.connection import Connection

# The key of the lock has 64 bits, which pg_locks shows in two halves.
# https://www.postgresql.org/docs/current/view-pg-locks.html
VITALS = """
select factwire.head() as head,
       count(w.pid) as waiting,
       coalesce(extract(epoch from max(clock_timestamp() - w.waitstart)), 0)::float8 as seconds
  from factwire.log l
  left join pg_locks w
    on w.locktype = 'advisory'
   and not w.granted
   and w.database = (select oid from pg_database where datname = current_database())
   and (w.classid::bigint << 32 | w.objid::bigint) = l.lock_key
   and w.objsubid = 1
"""


@dataclass(frozen=True, slots=True)
class LockQueue:
    """Number of sessions, of all processes, that wait for the append lock, and the longest such wait."""

    waiting: float
    seconds: float


async def read_statistics(connection: Connection) -> tuple[Position, LockQueue]:
    row = await connection.fetchrow(VITALS)
    assert row is not None
    return Position(row["head"]), LockQueue(row["waiting"], row["seconds"])
