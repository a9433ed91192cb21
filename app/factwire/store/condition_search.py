"""Search for facts that match a condition, without the lock of the log, one statement at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from factwire.domain.condition import Condition, Searched
from factwire.domain.position import Position
from factwire.store.connection import Connection
from factwire.store.query_arguments import precondition_texts
from factwire.store.rows import required_row

SEARCH = """
select match, place, throughs, matched, ids, head, epoch, continues
  from factwire.search_condition($1, $2, $3, $4, $5, $6, $7)
"""

# Limits of one statement.
WORK_MAX = 50_000
SECONDS_MAX = 0.2


@dataclass(frozen=True, slots=True)
class SearchProgress:
    """Match of a precondition that forbids it, with its place, or how far each one was searched; with head and epoch.

    If the earlier search was of another history, it does not count: `searched` is empty.
    """

    match: Position | None
    place: int
    searched: Sequence[Searched]
    head: Position
    epoch: int


async def search(connection: Connection, condition: Condition) -> SearchProgress:
    """Search after the part of the log that was searched already, within the limits of a statement."""
    known = [condition.searched_at(place) for place in range(len(condition.preconditions))]
    each = list(zip(condition.preconditions, known, strict=True))
    texts = [precondition_texts(precondition, searched) for precondition, searched in each]
    row = required_row(
        await connection.fetchrow(
            SEARCH,
            *([text[part] for text in texts] for part in range(3)),
            [searched.position if searched else precondition.cursor.position for precondition, searched in each],
            [searched and searched.id for searched in known],
            WORK_MAX,
            SECONDS_MAX,
        )
    )
    epoch = row["epoch"]
    if not row["continues"] or any(searched and searched.epoch != epoch for searched in known):
        return SearchProgress(None, 0, (), row["head"], epoch)
    reached = [
        Searched(epoch, through, encode_text(id), found)
        for through, id, found in zip(row["throughs"], row["ids"], row["matched"], strict=True)
    ]
    return SearchProgress(row["match"], (row["place"] or 1) - 1, reached, row["head"], epoch)


def encode_text(id: UUID | None) -> str | None:
    return None if id is None else str(id)
