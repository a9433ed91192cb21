"""The catalogue: which namespaces, types and versions exist, how many facts of each, and where the last one stands."""

from dataclasses import dataclass

from app.domain.position import Position
from app.store.database import Connection

# Folded counts and the facts behind the last fold, in one snapshot: exact, whenever the next fold comes.
COUNTS = """
select c.namespace, c.type, c.version, sum(c.facts)::bigint as facts, max(c.last_position) as last_position
  from (select k.namespace, k.type, k.version, k.facts, k.last_position
          from factwire.type_counts k
         where ($1::text is null or k.namespace = $1)
           and ($2::text is null or k.type = $2)
         union all
        select f.namespace, f.type, f.version, count(*), max(f.position)
          from factwire.facts f
         where f.position > (select through from factwire.counted)
           and ($1::text is null or f.namespace = $1)
           and ($2::text is null or f.type = $2)
         group by f.namespace, f.type, f.version) c
 group by c.namespace, c.type, c.version
 order by c.namespace, c.type, c.version
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
    rows = await connection.fetch(COUNTS, namespace, type)
    return [VersionCount(**row) for row in rows]


async def fold_counts(connection: Connection, *, facts_max: int) -> int:
    """Fold facts that are not counted yet, and return how many; 0 also while another process is at it."""
    folded: int = await connection.fetchval(FOLD_COUNTS, facts_max)
    return folded
