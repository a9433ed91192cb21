"""Status of a subscription: its position and counts, its oldest open fact, its workers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from factwire.domain.position import Position
from factwire.store.connection import Connection

WORKERS_SHOWN = 100

STATUS = """
select c.position, factwire.head() as head, l.epoch, c.turn - c.taken as ready, c.aside,
       c.in_flight - coalesce((select sum(t.facts) from factwire.subscription_settled t
                                where t.subscription = $1), 0)::integer as in_flight,
       a.held, a.delayed, a.parked, o.position as oldest, f.published_at as oldest_at, clock_timestamp() as now
  from factwire.log l
 cross join lateral (
         select k.* from factwire.subscription_cursors k where k.subscription = $1 order by k.seq desc limit 1) c
 cross join lateral (
         select count(*) filter (where s.state = 'held') as held,
                count(*) filter (where s.state = 'delayed') as delayed,
                count(*) filter (where s.state = 'parked') as parked,
                min(s.position) as first
           from factwire.subscription_aside s where s.subscription = $1) a
 cross join lateral (
         select least(a.first, (select min(u.position) from factwire.subscription_leases e
                                 cross join lateral unnest(e.positions) u (position)
                                 where e.subscription = $1)) as position) o
  left join factwire.facts f on f.position = o.position
"""

WORKERS = """
select worker, max(seen_at) as seen_at, sum(in_flight)::integer as in_flight
  from (select w.worker, w.seen_at, 0 as in_flight
          from factwire.subscription_workers w where w.subscription = $1
         union all
        select e.worker, null, cardinality(e.positions)
          from factwire.subscription_leases e where e.subscription = $1) u
 group by worker
 order by max(seen_at) desc nulls last, worker
 limit $2
"""

PUBLISHED_AT = "select published_at from factwire.facts where position = $1"


class OpenFact(NamedTuple):
    """The oldest fact that is claimed or set aside."""

    position: Position
    published_at: datetime


class Worker(NamedTuple):
    """A worker with the number of facts in its hands; `seen_at` is None if it has not been noted yet."""

    name: str
    seen_at: datetime | None
    in_flight: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Position and counts of a subscription at one moment, `now` by the clock of the database."""

    position: Position
    head: Position
    epoch: int
    in_flight: int
    ready: int
    held: int
    delayed: int
    parked: int
    aside: int
    oldest: OpenFact | None
    now: datetime


async def read_counts(connection: Connection, subscription: int) -> Counts | None:
    """Counts of a subscription; None if it does not exist."""
    row = await connection.fetchrow(STATUS, subscription)
    if row is None:
        return None
    oldest = None if row["oldest_at"] is None else OpenFact(row["oldest"], row["oldest_at"])
    names = ("position", "head", "epoch", "in_flight", "ready", "held", "delayed", "parked", "aside", "now")
    return Counts(**{name: row[name] for name in names}, oldest=oldest)


async def read_workers(connection: Connection, subscription: int) -> Sequence[Worker]:
    """Workers that have been heard of in the last minutes, and those with facts in their hands; the newest first."""
    rows = await connection.fetch(WORKERS, subscription, WORKERS_SHOWN)
    return [Worker(row["worker"], row["seen_at"], row["in_flight"]) for row in rows]


async def published_at(connection: Connection, position: Position) -> datetime | None:
    found: datetime | None = await connection.fetchval(PUBLISHED_AT, position)
    return found
