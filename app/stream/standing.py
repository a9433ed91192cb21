"""Standing queries: who gets a fact of all that wait for some, found without asking each of them."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from app.domain.fact import NewFact
from app.domain.position import Position
from app.domain.query import Item, Query
from app.store.reading import TailFact

Who = TypeVar("Who", bound=Hashable)

ANYTHING = ""
TYPE = "t:"
NAMESPACE = "n:"


class Standing(Generic[Who]):
    """An index from what a fact has to those who want it.

    Each item of a query is kept under one of its parts, so that a fact is compared only with items that share
    that part with it; an item that has no other part needs no comparison at all.
    """

    def __init__(self) -> None:
        self._sure: defaultdict[str, set[Who]] = defaultdict(set)
        self._asked: defaultdict[str, dict[Who, list[Item]]] = defaultdict(dict)

    def add(self, who: Who, query: Query) -> None:
        """Let somebody wait for what matches a query. Nobody waits for two."""
        for item in query.items or (Item(),):
            for key in keys_of(item):
                if is_told_by_key(item):
                    self._sure[key].add(who)
                else:
                    self._asked[key].setdefault(who, []).append(item)

    def discard(self, who: Who, query: Query) -> None:
        """Forget somebody who was added with this query."""
        for key in {key for item in query.items or (Item(),) for key in keys_of(item)}:
            if key in self._sure:
                self._sure[key].discard(who)
                if not self._sure[key]:
                    del self._sure[key]
            if key in self._asked:
                self._asked[key].pop(who, None)
                if not self._asked[key]:
                    del self._asked[key]

    def is_empty(self) -> bool:
        """Whether nobody waits for anything."""
        return not self._sure and not self._asked

    def find(
        self, facts: Iterable[tuple[Position, NewFact | TailFact]], *, after: Position, looks_max: int
    ) -> tuple[dict[Who, list[Position]], Position]:
        """The positions that each of them gets of the facts after a position, in order, and how far was looked.

        It stops behind the fact at which it has looked at so many queries, so that nobody waits for it for long.
        """
        found: defaultdict[Who, list[Position]] = defaultdict(list)
        looks, through = 0, after
        for position, fact in facts:
            matching, looked_at = self._matching(fact)
            for who in matching:
                found[who].append(position)
            looks += looked_at
            through = position
            if looks >= looks_max:
                break
        return found, through

    def _matching(self, fact: NewFact | TailFact) -> tuple[set[Who], int]:
        """Who wants a fact, and how much work it was to tell."""
        keys = (ANYTHING, f"{NAMESPACE}{fact.namespace}", f"{TYPE}{fact.type}", *fact.tags)
        matching: set[Who] = set()
        asked = 0
        for key in keys:
            if key in self._sure:
                matching |= self._sure[key]
            if key in self._asked:
                for who, items in self._asked[key].items():
                    asked += 1
                    if any(item.matches(fact.namespace, fact.type, fact.tags) for item in items):
                        matching.add(who)
        return matching, asked + len(matching) + 1


def keys_of(item: Item) -> Iterable[str]:
    """What a fact has one of if it matches the item. Aggregate ids sort before meta, and are rarer."""
    if item.tags:
        return item.tags[:1]
    if item.types:
        return [f"{TYPE}{type}" for type in item.types]
    return [f"{NAMESPACE}{namespace}" for namespace in item.namespaces] or [ANYTHING]


def is_told_by_key(item: Item) -> bool:
    """Whether every fact that has one of its keys matches the item, whoever asks."""
    return item.within.are_all and len(item.tags) + bool(item.types) + bool(item.namespaces) <= 1
