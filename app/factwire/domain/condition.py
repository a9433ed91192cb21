"""Condition of a publish (optimistic concurrency). alembic/sql/check_conditions_v2.sql decides it, under the lock."""

from dataclasses import dataclass, replace
from uuid import UUID

from factwire.domain.grants import EVERY_NAMESPACE, NamespaceSet
from factwire.domain.position import START, Cursor, Position
from factwire.domain.query import Item, Query

FAIL_IF_MATCH = "fail_if_match"
FAIL_UNLESS_MATCH = "fail_unless_match"
WHOLE_LOG = Cursor(0, START)


@dataclass(frozen=True, slots=True)
class FactBound:
    """Position of a fact, given by its id, for an author with these readable namespaces; resolved before a call."""

    id: UUID
    readable: NamespaceSet = EVERY_NAMESPACE


@dataclass(frozen=True, slots=True)
class Searched:
    """Position up to which a search of the log found no match, and the id of the fact there (None at its start).

    If `found`, the fact there is a match, for an item that needs one. A history that is replaced without notice keeps
    its epoch: only the different fact shows the fork.
    """

    epoch: int
    position: Position
    id: str | None
    found: bool = False


@dataclass(frozen=True, slots=True)
class Precondition:
    """One item of a condition: no fact after a bound matches it, or at least one if `must_match`.

    `pointer` is the place of the item in the condition, as a JSON pointer. The item has at least one part.
    """

    item: Item
    after: Cursor | FactBound
    pointer: str
    must_match: bool = False

    @property
    def cursor(self) -> Cursor:
        """The bound, which must be resolved."""
        assert isinstance(self.after, Cursor)
        return self.after


@dataclass(frozen=True, slots=True)
class Condition:
    """Preconditions, all of which must hold.

    `searched` has for each one how far the log is known already; it is empty if this is not known for any of them.
    """

    preconditions: tuple[Precondition, ...]
    searched: tuple[Searched | None, ...] = ()

    @property
    def bytes(self) -> int:
        """Approximate memory in bytes."""
        return sum([each.item.bytes for each in self.preconditions])

    @property
    def unresolved(self) -> list[FactBound]:
        """Bounds that have no position yet."""
        return [each.after for each in self.preconditions if isinstance(each.after, FactBound)]

    def searched_at(self, place: int) -> Searched | None:
        return self.searched[place] if self.searched else None

    def resolved(self, cursors: dict[FactBound, Cursor]) -> "Condition":
        """The same condition, with a cursor in place of each bound."""
        preconditions = tuple(
            replace(each, after=cursors[each.after]) if isinstance(each.after, FactBound) else each
            for each in self.preconditions
        )
        return replace(self, preconditions=preconditions)


def fail_if_match(query: Query, after: Cursor | FactBound = WHOLE_LOG) -> Condition:
    """The condition that no fact after a bound matches a query of at least one item."""
    return Condition(
        tuple(Precondition(item, after, f"/{FAIL_IF_MATCH}/{place}") for place, item in enumerate(query.items))
    )
