"""Queries: filters for facts. `Query.matches` is the reference for the SQL of the store."""

from collections.abc import Collection, Set
from dataclasses import dataclass, field, replace
from typing import cast

from factwire.domain.fact import aggregate_tag, meta_tag
from factwire.domain.grants import EVERY_NAMESPACE, NamespaceSet

ITEM_BYTES = 1024  # of the object, its sets, and its entry in the query index
VALUE_BYTES = 160  # of a text, its places in a tuple and in a set


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a query: every part that is given must match. Values are sorted and unique.

    `tags` are the aggregate ids and meta pairs, all of which a fact must have, and `any_tags` those of which it needs
    one. `within` are the namespaces that the author of the query may read.
    """

    namespaces: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    any_tags: tuple[str, ...] = ()
    within: NamespaceSet = EVERY_NAMESPACE
    _sets: tuple[frozenset[str], frozenset[str], frozenset[str], frozenset[str]] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    @property
    def comparisons(self) -> int:
        """Maximum number of look-ups to compare a fact with the item."""
        return 3 + len(self.tags) + len(self.any_tags)

    @property
    def values(self) -> int:
        """Number of values in all its parts."""
        return len(self.namespaces) + len(self.types) + len(self.tags) + len(self.any_tags)

    @property
    def bytes(self) -> int:
        """Approximate memory in bytes: its texts, and the overhead of Python for each of them."""
        values = self.namespaces + self.types + self.tags + self.any_tags
        return ITEM_BYTES + VALUE_BYTES * len(values) + len("".join(values))

    def matches(self, namespace: str, type: str, tags: Set[str]) -> bool:
        """True if a fact matches. Needs only a few look-ups for any size of the item and of the fact."""
        namespaces, types, needed, alternatives = self._sets or self._as_sets()
        return (
            (not namespaces or namespace in namespaces)
            and (not types or type in types)
            and needed <= tags
            and (not alternatives or not alternatives.isdisjoint(tags))
            and (self.within is EVERY_NAMESPACE or namespace in self.within)
        )

    def _as_sets(self) -> tuple[frozenset[str], frozenset[str], frozenset[str], frozenset[str]]:
        """Build the sets once, and only for streams: a condition is compared by the database."""
        sets = frozenset(self.namespaces), frozenset(self.types), frozenset(self.tags), frozenset(self.any_tags)
        object.__setattr__(self, "_sets", sets)
        return sets


@dataclass(frozen=True, slots=True)
class Query:
    """OR of items; without any, every fact. Equal queries are equal values, so that streams can share their matches."""

    items: tuple[Item, ...] = ()
    _bytes: int | None = field(default=None, init=False, repr=False, compare=False)
    _hash: int | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def bytes(self) -> int:
        """Approximate memory in bytes; computed once, on first use."""
        if self._bytes is None:
            object.__setattr__(self, "_bytes", sum([item.bytes for item in self.items]))
        return cast(int, self._bytes)

    @property
    def comparisons(self) -> int:
        """Maximum number of look-ups to compare a fact with the query."""
        return 1 + sum([item.comparisons for item in self.items])

    def __hash__(self) -> int:
        # Streams look up their query for each fact, and hashing all its texts takes longer than matching.
        if self._hash is None:
            object.__setattr__(self, "_hash", hash(self.items))
        return cast(int, self._hash)

    def matches(self, namespace: str, type: str, tags: Set[str]) -> bool:
        for item in self.items:  # any() with a generator would take twice as long, for each fact and query
            if item.matches(namespace, type, tags):
                return True
        return not self.items


EVERYTHING = Query()
NOTHING = Query((Item(namespaces=("",)),))


def restricted(query: Query, readable: NamespaceSet) -> Query:
    """Restrict a query to the readable namespaces, as if there were no others."""
    if readable.are_all:
        return query
    items = tuple(
        item for item in (restricted_item(item, readable) for item in query.items or (Item(),)) if item is not None
    )
    return Query(items) if items else NOTHING


def restricted_item(item: Item, readable: NamespaceSet) -> Item | None:
    """An item with only its readable namespaces; None if none of them is readable."""
    if not item.namespaces:
        return replace(item, within=readable) if readable.include else None
    namespaces = tuple(namespace for namespace in item.namespaces if namespace in readable)
    return replace(item, namespaces=namespaces) if namespaces else None


def new_item(
    *,
    namespaces: list[str] | None = None,
    types: list[str] | None = None,
    aggregate_ids: list[str] | None = None,
    any_aggregate_id: list[str] | None = None,
    meta: list[tuple[str, str]] | None = None,
) -> Item:
    """An item in its normal form, from the parts as a client sends them."""
    tags = [aggregate_tag(aggregate_id) for aggregate_id in aggregate_ids or ()]
    if meta:
        tags += [meta_tag(key, value) for key, value in meta]
    any_tags = [aggregate_tag(aggregate_id) for aggregate_id in any_aggregate_id or ()]
    return Item(normal_values(namespaces), normal_values(types), normal_values(tags), normal_values(any_tags))


def normal_values(values: Collection[str] | None) -> tuple[str, ...]:
    """Values sorted and without duplicates."""
    return () if not values else tuple(sorted(set(values)))
