"""Catalogue of namespaces, types and versions, with the number of facts of each and the position of the last one."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import asyncpg

from factwire.domain.grants import EVERY_NAMESPACE, NamespaceSet
from factwire.store.connection import Connection
from factwire.store.log import walk_back

LIST_NAMESPACES = "select namespace, facts, last_position from factwire.list_namespaces($1, $2, $3, $4)"

LIST_TYPES = "select type, versions, facts, last_position from factwire.list_types($1, $2, $3, $4)"

COUNT_TYPE = "select version, facts, last_position from factwire.count_type($1, $2)"

# Positions are dense: the difference of those at two times is the number of facts published between them.
POSITIONS_AT = """
select b.until, p.position
  from (select clock_timestamp() as now) c
 cross join generate_series($2::int, 0, -1) n
 cross join lateral (select c.now - make_interval(secs => $1 * n)) b (until)
 cross join lateral factwire.last_fact_before(b.until) p
 order by n desc
"""

COUNTED_MAX = 100_000  # readable facts, if only some namespaces may be read

FOLD_COUNTS = "select factwire.fold_counts($1)"


@dataclass(frozen=True, slots=True)
class ListedPage:
    """Page of names to list: those that begin with `prefix` and follow `after`, at most `names_max` of them."""

    prefix: str = ""
    after: str = ""
    names_max: int = 100


async def read_namespaces(
    connection: Connection, listed: ListedPage, readable: NamespaceSet = EVERY_NAMESPACE
) -> list[asyncpg.Record]:
    """Namespaces that may be read, in order: `namespace`, `facts` and `last_position`."""
    bounds = None if readable.are_all else readable.ranges
    return await connection.fetch(LIST_NAMESPACES, bounds, listed.prefix, listed.after, listed.names_max)


async def read_types(connection: Connection, namespace: str, listed: ListedPage) -> list[asyncpg.Record]:
    """Types of a namespace, in order: `type`, its `versions`, `facts` and `last_position`."""
    return await connection.fetch(LIST_TYPES, namespace, listed.prefix, listed.after, listed.names_max)


async def read_versions(connection: Connection, namespace: str, type: str) -> list[asyncpg.Record]:
    """Versions of a type, in order: `version`, `facts` and `last_position`."""
    return await connection.fetch(COUNT_TYPE, namespace, type)


@dataclass(frozen=True, slots=True)
class ActivityCounts:
    """Number of facts published in each of several intervals; the last interval ended at `until`.

    None for an interval if too many facts were published since to count those that may be read.
    """

    until: datetime
    facts: list[int | None]


async def read_activity(
    connection: Connection, readable: NamespaceSet, *, interval_seconds: float, intervals: int
) -> ActivityCounts:
    rows = await connection.fetch(POSITIONS_AT, interval_seconds, intervals)
    positions = [row["position"] for row in rows]
    if readable.are_all:
        return ActivityCounts(rows[-1]["until"], [high - low for low, high in pairwise(positions)])
    found, through = await walk_back(
        connection, readable, after=positions[0], until=positions[-1], facts_max=COUNTED_MAX
    )
    found.reverse()
    before = [bisect_right(found, position) for position in positions]
    counts = [high - low for low, high in pairwise(before)]
    # Everything uncounted is before the oldest counted fact. The position where the search ended must not be revealed.
    uncounted = 0 if through <= positions[0] else bisect_left(positions, found[0]) if found else intervals
    return ActivityCounts(rows[-1]["until"], [*[None] * uncounted, *counts[uncounted:]])


async def fold_counts(connection: Connection, *, facts_max: int) -> int:
    """Add uncounted facts to the counts, and return their number; also 0 while another process is doing it."""
    folded: int = await connection.fetchval(FOLD_COUNTS, facts_max)
    return folded
