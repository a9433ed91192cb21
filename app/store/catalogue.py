"""The catalogue: which namespaces, types and versions exist, how many facts of each, and where the last one stands."""

from dataclasses import dataclass

from app.domain.position import Position
from app.store.database import Connection

COUNT_FACTS = "select namespace, type, version, facts, last_position from factwire.count_facts($1, $2)"

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


async def fold_counts(connection: Connection, *, facts_max: int) -> int:
    """Fold facts that are not counted yet, and return how many; 0 also while another process is at it."""
    folded: int = await connection.fetchval(FOLD_COUNTS, facts_max)
    return folded
