"""The catalogue: which namespaces, types and versions exist, how many facts of each, and where the last one stands."""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from app.domain.position import Position
from app.store.database import Connection

COUNT_FACTS = "select namespace, type, version, facts, last_position from factwire.count_facts($1, $2)"

# Positions are dense, so that those at two times say how many facts were published between them.
POSITIONS_AT = """
select b.until, p.position
  from (select clock_timestamp() as now) c
 cross join generate_series($2::int, 0, -1) n
 cross join lateral (select c.now - make_interval(secs => $1 * n)) b (until)
 cross join lateral factwire.last_before(b.until) p
 order by n desc
"""

FOLD_COUNTS = "select factwire.fold_counts($1)"


@dataclass(frozen=True, slots=True)
class VersionCount:
    namespace: str
    type: str
    version: int
    facts: int
    last_position: Position


async def read_counts(
    connection: Connection, *, namespace: str | None = None, type: str | None = None
) -> list[VersionCount]:
    rows = await connection.fetch(COUNT_FACTS, namespace, type)
    return [VersionCount(**row) for row in rows]


@dataclass(frozen=True, slots=True)
class Activity:
    """How many facts were published in each of some intervals, the last of which ended at `until`."""

    until: datetime
    facts: list[int]


async def read_activity(connection: Connection, *, interval_seconds: float, intervals: int) -> Activity:
    rows = await connection.fetch(POSITIONS_AT, interval_seconds, intervals)
    positions = [row["position"] for row in rows]
    return Activity(rows[-1]["until"], [after - before for before, after in pairwise(positions)])


async def fold_counts(connection: Connection, *, facts_max: int) -> int:
    """Fold facts that are not counted yet, and return how many; 0 also while another process is at it."""
    folded: int = await connection.fetchval(FOLD_COUNTS, facts_max)
    return folded
