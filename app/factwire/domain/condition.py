"""Condition of a publish (optimistic concurrency). alembic/sql/check_conditions_v1.sql decides it, under the lock."""

from dataclasses import dataclass

from factwire.domain.position import Cursor, Position
from factwire.domain.query import Query


@dataclass(frozen=True, slots=True)
class Searched:
    """Position up to which a search of the log found no match, and the id of the fact there (None at its start).

    A history that is replaced without notice keeps its epoch: only the different fact shows the fork.
    """

    epoch: int
    position: Position
    id: str | None


@dataclass(frozen=True, slots=True)
class Condition:
    """No fact after the cursor may match any of the items. Each item has at least one part.

    `searched` has for each item how far the log is known already to have no match; it is empty if this is not known for
    any item.
    """

    fail_if_match: Query
    after: Cursor
    searched: tuple[Searched | None, ...] = ()

    def after_of(self, place: int) -> Cursor:
        """Cursor after which an item is still to be searched."""
        searched = self.searched[place] if self.searched else None
        return self.after if searched is None else Cursor(searched.epoch, searched.position)
