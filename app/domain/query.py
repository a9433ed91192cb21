"""Queries: which facts. `Query.matches` is the reference for what the SQL of the store finds."""

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import chain

from app.domain.fact import aggregate_tag, meta_tag


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a query: every part that is given must match. Values are sorted and unique.

    `tags` are the aggregate ids and meta pairs, all of which a fact must have.
    """

    namespaces: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def matches(self, namespace: str, type: str, tags: Collection[str]) -> bool:
        return (
            (not self.namespaces or namespace in self.namespaces)
            and (not self.types or type in self.types)
            and (not self.tags or all(tag in tags for tag in self.tags))
        )


@dataclass(frozen=True, slots=True)
class Query:
    """OR of items; without any, every fact. Equal queries are equal values, so that streams can share their matches."""

    items: tuple[Item, ...] = ()
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash(self.items))

    def __hash__(self) -> int:
        # Streams look their query up for each fact, and hashing all its texts takes longer than matching.
        return self._hash

    def matches(self, namespace: str, type: str, tags: Collection[str]) -> bool:
        for item in self.items:  # any() with a generator would take twice as long, for each fact and query
            if item.matches(namespace, type, tags):
                return True
        return not self.items


EVERYTHING = Query()


def new_item(
    *,
    namespaces: list[str] | None = None,
    types: list[str] | None = None,
    aggregate_ids: list[str] | None = None,
    meta: list[tuple[str, str]] | None = None,
) -> Item:
    """An item in its normal form, from the parts as a client gives them."""
    tags = chain(map(aggregate_tag, aggregate_ids or ()), (meta_tag(key, value) for key, value in meta or ()))
    return Item(tuple(sorted(set(namespaces or ()))), tuple(sorted(set(types or ()))), tuple(sorted(set(tags))))
