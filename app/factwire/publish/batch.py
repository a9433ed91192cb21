"""Requests on their way to the log, and which of them may be appended by the same call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from factwire.domain.condition import Condition
from factwire.domain.errors import FactwireError
from factwire.domain.fact import NewFact
from factwire.domain.position import Cursor, Position
from factwire.domain.query import Item

GROUP_FACTS_MAX = 1000
GROUP_REQUESTS_MAX = 512  # 50 bytes come back for each that is refused: within the 32 KiB of a socket's buffer
GROUP_BYTES_MAX = 1024 * 1024  # unless one request has more: whoever waits meanwhile goes before the next of those
GROUP_POSTINGS_MAX = 20_000
GROUP_COMPARISONS_MAX = 2_000  # of items with what a group holds: a few milliseconds
GROUP_PROBES_MAX = 3_000  # of conditions, before anything is walked for them: some 5 ms under the lock

# What a request costs beside its postings, in postings (of 3.2 µs under the lock each, by the design's measurement).
REQUEST_COST = 4.0
BYTES_OF_A_POSTING = 200  # are compressed and written in the same time
PROBE_COST = 0.5  # of a look-up for a condition
TAG_PROBES = 3  # see check_conditions in alembic/sql, which looks for so many tags and types
FIRST_MAX = 8


class Published(NamedTuple):
    """Where the facts of one request stand. `replayed` says that they were there already."""

    ids: Sequence[str]
    positions: Sequence[Position]
    epoch: int
    published_at: str | None
    replayed: bool = False

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, max(self.positions))


Outcome = Published | FactwireError


@dataclass(slots=True, eq=False)
class Request:
    """One request on its way through the publisher. `on_end` is called once, with its outcome.

    `unsealed` are the facts as they were given, where they had to be sealed. `alone` says that it goes by itself: a
    call that it was part of took too long, and the fault may be its own. `searched_seconds` is how long its condition
    was searched without the lock, and `slow_turns` how often it left the lock for that.
    """

    facts: Sequence[NewFact]
    condition: Condition | None
    arrived_at: float
    give_up_at: float
    tenant: str
    on_end: Callable[["Request", Outcome | None], None]
    unsealed: Sequence[NewFact] = ()
    bytes: int = field(init=False)
    postings: int = field(init=False)
    probes: int = field(init=False, default=0)
    searched_seconds: float = field(init=False, default=0.0)
    slow_turns: int = field(init=False, default=0)
    alone: bool = False
    ended: bool = False

    def __post_init__(self) -> None:
        bytes, postings = 0, len(self.facts)  # one posting for each type, and for each tag
        for fact in self.facts:
            bytes += len(fact.document) + len(fact.seal)
            postings += len(fact.tags)
        self.bytes, self.postings = bytes, postings
        if self.condition is not None:
            self.bytes += self.condition.fail_if_match.bytes
            self.probes = sum([probes_of(item) for item in self.condition.fail_if_match.items])

    @property
    def cost(self) -> float:
        """Its share of the work under the lock, in postings."""
        return REQUEST_COST + self.postings + self.bytes / BYTES_OF_A_POSTING + self.probes * PROBE_COST

    def end(self, outcome: Outcome) -> None:
        """The outcome is known. Only the first end counts."""
        self._end(outcome)

    def abandon(self) -> None:
        """Its publisher has left: the outcome is not needed. Only the first end counts."""
        self._end(None)

    def _end(self, outcome: Outcome | None) -> None:
        if not self.ended:
            self.ended = True
            self.on_end(self, outcome)


def probes_of(item: Item) -> int:
    """How many look-ups an item of a condition takes at most before anything is walked for it."""
    return 1 + TAG_PROBES * min(len(item.tags), FIRST_MAX) + min(len(item.types), FIRST_MAX)


@dataclass(slots=True)
class AppendBatch:
    """The requests of one call, and what they contain, to keep out those that must not be in the same call."""

    postings_max: int
    requests: list[Request] = field(default_factory=list)
    facts: int = 0
    bytes: int = 0
    postings: int = 0
    probes: int = 0
    chosen_ids: set[str] = field(default_factory=set)
    new_keys: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)
    namespaces: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)
    looked_through: int = 0
    comparisons: int = 0

    def has_room_for(self, request: Request) -> bool:
        return not self.requests or (
            not (request.alone or self.requests[0].alone)
            and len(self.requests) < GROUP_REQUESTS_MAX
            and self.facts + len(request.facts) <= GROUP_FACTS_MAX
            and self.bytes + request.bytes <= GROUP_BYTES_MAX
            and self.postings + request.postings <= self.postings_max
            and self.probes + request.probes <= GROUP_PROBES_MAX
        )

    def must_precede(self, request: Request) -> bool:
        """Whether the request can only be decided once this group is stored.

        It shares an id, so that its facts may turn out to be known; or the new key of a data subject; or a fact of this
        group may match its condition, which append compares with the stored facts only. Erring towards yes costs one
        more call.
        """
        if self.chosen_ids and any(fact.chosen_id and fact.id in self.chosen_ids for fact in request.facts):
            return True
        if self.new_keys and any(fact.new_key and fact.data_subject in self.new_keys for fact in request.facts):
            return True
        if request.condition is None or not self.requests:
            return False
        items = request.condition.fail_if_match.items
        self.comparisons += len(items)
        if self.comparisons > GROUP_COMPARISONS_MAX:
            return True
        self._look_through()
        return any(self._may_match(item) for item in items)

    def add(self, request: Request) -> None:
        self.requests.append(request)
        self.facts += len(request.facts)
        self.bytes += request.bytes
        self.postings += request.postings
        self.probes += request.probes
        for fact in request.facts:
            if fact.chosen_id:
                self.chosen_ids.add(fact.id)
            if fact.new_key:
                self.new_keys.add(fact.data_subject)

    def _may_match(self, item: Item) -> bool:
        """Whether each part of an item, taken alone, matches some fact of the group."""
        return (
            self.tags.issuperset(item.tags)
            and not (item.namespaces and self.namespaces.isdisjoint(item.namespaces))
            and not (item.types and self.types.isdisjoint(item.types))
        )

    def _look_through(self) -> None:
        """Note what a condition is compared with: only where there is one."""
        for request in self.requests[self.looked_through :]:
            for fact in request.facts:
                self.tags.update(fact.tags)
                self.namespaces.add(fact.namespace)
                self.types.add(fact.type)
        self.looked_through = len(self.requests)
