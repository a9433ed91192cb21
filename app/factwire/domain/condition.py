"""Conditions: publish only if no fact matches a query after a position."""

from dataclasses import dataclass

from factwire.domain.position import Cursor, Position
from factwire.domain.query import Query


@dataclass(frozen=True, slots=True)
class Searched:
    """How far the log was searched in vain, and the id of the fact there (None at its start).

    A history that is replaced without notice keeps its epoch: that the fact is another one is what shows it.
    """

    epoch: int
    position: Position
    id: str | None


@dataclass(frozen=True, slots=True)
class Condition:
    """No fact after the cursor may match any of the items. Each item has at least one part.

    `searched` says of each item how far that is known already; it is empty where of none.
    """

    fail_if_match: Query
    after: Cursor
    searched: tuple[Searched | None, ...] = ()

    def after_of(self, place: int) -> Cursor:
        """Behind which cursor an item is still to be searched."""
        searched = self.searched[place] if self.searched else None
        return self.after if searched is None else Cursor(searched.epoch, searched.position)
