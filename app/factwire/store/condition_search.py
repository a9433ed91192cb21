"""Search for facts that a condition forbids, without the lock of the log, one statement at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from factwire.domain.condition import Condition, Searched
from factwire.domain.position import Position
from factwire.store.connection import Connection
from factwire.store.query_arguments import query_arrays
from factwire.store.rows import required_row

SEARCH = """
select match, throughs, ids, head, epoch, continues from factwire.search_items($1, $2, $3, $4, $5, $6, $7)
"""

# Limits of one statement.
WORK_MAX = 50_000
SECONDS_MAX = 0.2


@dataclass(frozen=True, slots=True)
class SearchProgress:
    """Match of a condition, or how far each item was searched without a match; with the head and epoch of the log.

    If the earlier search was of another history, it does not count: `searched` is empty.
    """

    match: Position | None
    searched: Sequence[Searched]
    head: Position
    epoch: int


async def search(connection: Connection, condition: Condition) -> SearchProgress:
    """Search for facts that a condition forbids, after the part already searched, within the limits of a statement."""
    places = range(len(condition.fail_if_match.items))
    known = condition.searched or [None for _ in places]
    row = required_row(
        await connection.fetchrow(
            SEARCH,
            *query_arrays(condition.fail_if_match),
            [condition.after_of(place).position for place in places],
            [each and each.id for each in known],
            WORK_MAX,
            SECONDS_MAX,
        )
    )
    epoch = row["epoch"]
    if not row["continues"] or any(each and each.epoch != epoch for each in known):
        return SearchProgress(None, (), row["head"], epoch)
    searched = [Searched(epoch, *each) for each in zip(row["throughs"], map(encode_text, row["ids"]), strict=True)]
    return SearchProgress(row["match"], searched, row["head"], epoch)


def encode_text(id: UUID | None) -> str | None:
    return None if id is None else str(id)
