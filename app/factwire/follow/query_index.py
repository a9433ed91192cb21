"""QueryIndex queries: who gets a fact of all that wait for some, found without asking each of them."""

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
KEYS_OF_A_LOOK = 8  # under which nobody waits: they are looked up in the time of one comparison


class IndexedQuery(NamedTuple, Generic[Who]):
    """The items of one of those who wait under a key, and how many look-ups they may take for one fact."""

    who: Who
    items: tuple[Item, ...]
    comparisons: int

    def matches(self, fact: NewFact | TailFact, tags: Set[str]) -> bool:
        namespace, type = fact.namespace, fact.type
        return any([item.matches(namespace, type, tags) for item in self.items])


@dataclass(slots=True)
class MatchedStreams(Generic[Who]):
    """The positions that each of those who wait gets, in order, of all facts up to `through`."""

    through: Position
    positions: dict[Who, list[Position]] = field(default_factory=dict)
    comparisons: int = 0
    paused: bool = False

    def add(self, who: Who, position: Position) -> None:
        found = self.positions.setdefault(who, [])
        if not found or found[-1] != position:
            found.append(position)


class QueryIndex(Generic[Who]):
    """An index from what a fact has to those who want it.

    Each item of a query is kept under one of its parts, so that a fact is compared only with items that share
    that part with it; an item that has no other part needs no comparison at all.
    """

    def __init__(self) -> None:
        self._sure: defaultdict[str, set[Who]] = defaultdict(set)
        self._asked: defaultdict[str, dict[Who, IndexedQuery[Who]]] = defaultdict(dict)

    def add(self, who: Who, query: Query) -> None:
        """Let somebody wait for what matches a query. Nobody waits for two."""
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
        """Forget somebody who was added with this query."""
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
        """Whether nobody waits for anything."""
        return not self._sure and not self._asked

    def find(
        self, facts: Iterable[tuple[Position, NewFact | TailFact]], *, after: Position, looks_max: int
    ) -> Iterator["MatchedStreams[Who] | None"]:
        """Yield what was found of the facts after a position, once, and before that None at each pause.

        It pauses after so many look-ups, also within one fact, so that it never holds up others for long, and stops
        after the fact at which it has paused. The facts must stay as they are meanwhile; queries may come and go.
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
        """Find those who get a fact, and say on the way how many look-ups that took."""
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
    """What a fact has one of if it matches the item. Aggregate ids sort before meta, and are rarer."""
    if item.tags:
        return item.tags[:1]
    if item.types:
        return [f"{TYPE}{type}" for type in item.types]
    return [f"{NAMESPACE}{namespace}" for namespace in item.namespaces] or [ANYTHING]


def is_decided_by_key(item: Item) -> bool:
    """Whether every fact that has one of its keys matches the item, whoever asks."""
    return item.within.are_all and len(item.tags) + bool(item.types) + bool(item.namespaces) <= 1
