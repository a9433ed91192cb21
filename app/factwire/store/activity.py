"""Activity: the number of facts published in intervals of time, from counts by minute."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import asyncpg

from factwire.domain.errors import FieldError, LimitExceeded
from factwire.domain.grants import NamespaceSet
from factwire.store.connection import Connection

READ_ACTIVITY = """
select namespace, type, total, place, facts from factwire.read_activity($1, $2, $3, $4, $5, $6, $7)
 order by total desc nulls last, namespace, type, place
"""

COUNTED_UNTIL = "select factwire.counted_until()"

Grouping = Literal["namespace", "type"]
PARTS: dict[Grouping | None, int] = {None: 0, "namespace": 1, "type": 2}
SERIES_MAX = 100
ROWS_MAX = 500_000  # of a minute, a namespace and a type each: they are added up in about 0.3 s


@dataclass(frozen=True, slots=True)
class Intervals:
    """Intervals of `seconds` each, from `begin` to `end`. The seconds are whole minutes."""

    begin: datetime
    end: datetime
    seconds: int

    @property
    def count(self) -> int:
        return int((self.end - self.begin).total_seconds()) // self.seconds


@dataclass(slots=True)
class Series:
    """Number of facts in each interval, of a namespace or a type, or of all without a name."""

    namespace: str | None
    type: str | None
    total: int
    facts: list[int]


@dataclass(slots=True)
class ActivityCounts:
    """The series with most facts, most facts first, and all others added up in `rest`.

    Facts published before `counted_until` are counted.
    """

    counted_until: datetime
    series: list[Series] = field(default_factory=list)
    rest: Series | None = None


async def read_activity(
    connection: Connection,
    readable: NamespaceSet,
    intervals: Intervals,
    *,
    by: Grouping | None = None,
    series_max: int = SERIES_MAX,
    rows_max: int = ROWS_MAX,
) -> ActivityCounts:
    """Activity in the readable namespaces. Raises LimitExceeded if too many counts would have to be added up."""
    bounds = None if readable.are_all else readable.ranges
    until = await connection.fetchval(COUNTED_UNTIL)  # before the counts, which may already have more
    rows = await connection.fetch(
        READ_ACTIVITY, bounds, intervals.begin, intervals.end, intervals.seconds, PARTS[by], series_max, rows_max
    )
    if any(row["place"] < 0 for row in rows):
        detail = "expected less time: there are too many counts by minute to add up"
        raise LimitExceeded("activity_rows_max", rows_max, field=FieldError(detail, parameter="from"))
    return counts_of(rows, until, intervals.count)


def counts_of(rows: Iterable[asyncpg.Record], until: datetime, count: int) -> ActivityCounts:
    counts = ActivityCounts(until)
    for row in rows:
        if row["total"] is None:
            series = counts.rest = counts.rest or Series(None, None, 0, [0] * count)
        elif counts.series and (counts.series[-1].namespace, counts.series[-1].type) == (row["namespace"], row["type"]):
            series = counts.series[-1]
        else:
            series = Series(row["namespace"], row["type"], 0, [0] * count)
            counts.series.append(series)
        series.facts[row["place"]] = row["facts"]
        series.total += row["facts"]
    return counts
