"""Totals of subscriptions for the metrics, all of them in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass

from factwire.domain.position import Position
from factwire.store.connection import Connection

TOTALS = """
select s.name, s.in_flight_max, c.in_flight, c.turn - c.taken as ready, c.aside, p.parked,
       factwire.head() - c.position as lag,
       case when s.paused_at is null then 'active' when s.failed then 'failed' else 'paused' end as state,
       extract(epoch from clock_timestamp() - f.published_at)::float8 as oldest_seconds
  from factwire.subscriptions s
 cross join lateral (
         select k.* from factwire.subscription_cursors k where k.subscription = s.id order by k.seq desc limit 1) c
 cross join lateral (
         select count(*) as parked from factwire.subscription_aside a
          where a.subscription = s.id and a.state = 'parked') p
 cross join lateral (
         select least((select min(a.position) from factwire.subscription_aside a where a.subscription = s.id),
                      (select min(u.position) from factwire.subscription_leases l
                        cross join lateral unnest(l.positions) u (position)
                        where l.subscription = s.id)) as position) o
  left join factwire.facts f on f.position = o.position
 order by s.name
"""


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals of one subscription. `lag` is the distance to the head in positions, matches or not.

    `waiting` are facts that are held or delayed; `oldest_seconds` is the age of the oldest open fact, 0 without one.
    """

    name: str
    state: str
    lag: Position
    in_flight: int
    ready: int
    waiting: int
    parked: int
    oldest_seconds: float
    limited: bool


async def read_totals(connection: Connection, *, aside_max: int) -> Sequence[Totals]:
    """Totals of all subscriptions."""
    return [
        Totals(
            name=row["name"],
            state=row["state"],
            lag=row["lag"],
            in_flight=row["in_flight"],
            ready=row["ready"],
            waiting=row["aside"] - row["ready"] - row["parked"],
            parked=row["parked"],
            oldest_seconds=max(0.0, row["oldest_seconds"] or 0.0),
            limited=row["lag"] > 0 and (row["in_flight"] >= row["in_flight_max"] or row["aside"] >= aside_max),
        )
        for row in await connection.fetch(TOTALS)
    ]
