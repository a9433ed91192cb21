"""Query index: finds the subscribers that a fact matches, without a comparison with each of them."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Set
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from factwire.domain.fact import NewFact
from factwire.domain.position import Position
from factwire.domain.query import Item, Query
from factwire.store.read_tail import TailFact

Who = TypeVar("Who", bound=Hashable)

ANYTHING = ""
TYPE = "t:"
NAMESPACE = "n:"
LOOKS_COUNTED = 500
KEYS_OF_A_LOOK = 8  # keys without a subscriber: so many are looked up in the time of one comparison


class IndexedQuery(NamedTuple, Generic[Who]):
    """Items of one subscriber under a key, and the number of look-ups that they may take for one fact."""

    who: Who
    items: tuple[Item, ...]
    comparisons: int

    def matches(self, fact: NewFact | TailFact, tags: Set[str]) -> bool:
        namespace, type = fact.namespace, fact.type
        return any([item.matches(namespace, type, tags) for item in self.items])


@dataclass(slots=True)
class MatchedStreams(Generic[Who]):
    """Positions of the facts up to `through` that match each subscriber, in order."""

    through: Position
    positions: dict[Who, list[Position]] = field(default_factory=dict)
    comparisons: int = 0
    paused: bool = False

    def add(self, who: Who, position: Position) -> None:
        found = self.positions.setdefault(who, [])
        if not found or found[-1] != position:
            found.append(position)


class QueryIndex(Generic[Who]):
    """Inverted index from the parts of a fact to the subscribers with a matching query.

    Each item of a query is kept under one of its parts, so that a fact is compared only with the items that share
    that part with it; an item without another part needs no comparison at all.
    """

    def __init__(self) -> None:
        self._sure: defaultdict[str, set[Who]] = defaultdict(set)
        self._asked: defaultdict[str, dict[Who, IndexedQuery[Who]]] = defaultdict(dict)

    def add(self, who: Who, query: Query) -> None:
        """Add a subscriber with its query. A subscriber has only one query."""
        for item in query.items or (Item(),):
            for key in index_keys(item):
                if is_decided_by_key(item):
                    self._sure[key].add(who)
                else:
                    asked = self._asked[key].get(who, IndexedQuery(who, (), 0))
                    self._asked[key][who] = IndexedQuery(
                        who, (*asked.items, item), asked.comparisons + item.comparisons
                    )

    def discard(self, who: Who, query: Query) -> None:
        """Remove a subscriber that was added with this query."""
        for key in {key for item in query.items or (Item(),) for key in index_keys(item)}:
            if key in self._sure:
                self._sure[key].discard(who)
                if not self._sure[key]:
                    del self._sure[key]
            if key in self._asked:
                self._asked[key].pop(who, None)
                if not self._asked[key]:
                    del self._asked[key]

    def is_empty(self) -> bool:
        """True if the index has no subscriber."""
        return not self._sure and not self._asked

    def find(
        self, facts: Iterable[tuple[Position, NewFact | TailFact]], *, after: Position, looks_max: int
    ) -> Iterator["MatchedStreams[Who] | None"]:
        """Yield the matches among the facts after a position, once, and before that None at each pause.

        It pauses after `looks_max` look-ups, also within one fact, so that it never delays other tasks for long, and
        stops after the fact at which it has paused. The facts must not change meanwhile; queries may be added and
        discarded.
        """
        finding: MatchedStreams[Who] = MatchedStreams(after)
        for position, fact in facts:
            for comparisons in self._look_at(position, fact, finding):
                finding.comparisons += comparisons
                if finding.comparisons >= looks_max:
                    yield None
                    finding.comparisons, finding.paused = 0, True
            finding.through = position
            if finding.paused:
                break
        yield finding

    def _look_at(self, position: Position, fact: NewFact | TailFact, finding: "MatchedStreams[Who]") -> Iterator[int]:
        """Find the subscribers that a fact matches, and yield the numbers of look-ups as they are made."""
        keys = (ANYTHING, f"{NAMESPACE}{fact.namespace}", f"{TYPE}{fact.type}", *fact.tags)
        tags: frozenset[str] | None = None
        comparisons = len(keys) // KEYS_OF_A_LOOK
        for key in keys:
            if key in self._sure:
                comparisons += len(self._sure[key])
                for who in self._sure[key]:
                    finding.add(who, position)
            if key in self._asked:
                tags = frozenset(fact.tags) if tags is None else tags
                for asked in list(self._asked[key].values()):
                    if asked.matches(fact, tags):
                        finding.add(asked.who, position)
                    comparisons += asked.comparisons
                    if comparisons >= LOOKS_COUNTED:
                        yield comparisons
                        comparisons = 0
        yield comparisons


def index_keys(item: Item) -> Iterable[str]:
    """Return the keys of an item; each match has one of them. Aggregate ids sort before meta, and are rarer."""
    if item.tags or item.any_tags:
        return item.tags[:1] or item.any_tags
    if item.types:
        return [f"{TYPE}{type}" for type in item.types]
    return [f"{NAMESPACE}{namespace}" for namespace in item.namespaces] or [ANYTHING]


def is_decided_by_key(item: Item) -> bool:
    """True if every fact that has one of its keys matches the item, for any reader."""
    parts = len(item.tags) + bool(item.any_tags) + bool(item.types) + bool(item.namespaces)
    return item.within.are_all and parts <= 1
