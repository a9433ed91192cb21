"""Publish requests, and the batches of them that one call may append (group commit)."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from factwire.domain.condition import Condition
from factwire.domain.effect import Effect, changed_object
from factwire.domain.errors import FactwireError
from factwire.domain.fact import NewFact
from factwire.domain.position import Cursor, Position
from factwire.domain.query import Item

GROUP_FACTS_MAX = 1000
GROUP_REQUESTS_MAX = 512  # each refused one returns 50 bytes: in total less than the 32 KiB of a socket's buffer
GROUP_BYTES_MAX = 1024 * 1024  # unless one request has more: requests that wait meanwhile go before the next such one
GROUP_POSTINGS_MAX = 20_000
GROUP_COMPARISONS_MAX = 2_000  # of condition items with the content of a batch: a few milliseconds
GROUP_PROBES_MAX = 3_000  # of conditions, before any index walk for them: about 5 ms under the lock

# Cost of a request besides its postings, in postings (each 3.2 µs under the lock, as measured for the design).
REQUEST_COST = 4.0
BYTES_OF_A_POSTING = 200  # compressed and written in the time of one posting
PROBE_COST = 0.5  # of one look-up for a condition
TAG_PROBES = 3  # look-ups for one tag; see check_conditions in alembic/sql
FIRST_MAX = 8  # tags, and types, of an item that check_conditions looks up before it walks an index


class Published(NamedTuple):
    """Positions of the facts of one request in the log. `replayed` means that they were stored before."""

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

    `next_id` is that of KeyedIds, if an idempotency key gave the facts their ids. `unsealed` holds the facts before
    encryption, if they had to be sealed. `alone` means that it gets a call of its own: a call that it was part of took
    too long, perhaps because of this request. `searched_seconds` is the time that its condition was searched without
    the lock, and `slow_turns` the number of times it left the lock for that.
    """

    facts: Sequence[NewFact]
    condition: Condition | None
    arrived_at: float
    give_up_at: float
    tenant: str
    on_end: Callable[["Request", Outcome | None], None]
    next_id: str = ""
    effects: Sequence[Effect] = ()
    unsealed: Sequence[NewFact] = ()
    bytes: int = field(init=False)
    postings: int = field(init=False)
    probes: int = field(init=False, default=0)
    searched_seconds: float = field(init=False, default=0.0)
    slow_turns: int = field(init=False, default=0)
    alone: bool = False
    ended: bool = False

    def __post_init__(self) -> None:
        bytes, postings = 0, len(self.facts)  # one posting for the type of each fact, and one for each tag
        for fact in self.facts:
            bytes += len(fact.document) + len(fact.seal)
            postings += len(fact.tags)
        self.bytes, self.postings = bytes, postings
        if self.condition is not None:
            self.bytes += self.condition.bytes
            self.probes = sum([probes_of(each.item) for each in self.condition.preconditions])

    @property
    def cost(self) -> float:
        """Work under the lock, in postings."""
        return REQUEST_COST + self.postings + self.bytes / BYTES_OF_A_POSTING + self.probes * PROBE_COST

    def end(self, outcome: Outcome) -> None:
        """End the request with its outcome. Only the first end counts."""
        self._end(outcome)

    def abandon(self) -> None:
        """End the request without an outcome, since its caller has left. Only the first end counts."""
        self._end(None)

    def _end(self, outcome: Outcome | None) -> None:
        if not self.ended:
            self.ended = True
            self.on_end(self, outcome)


def probes_of(item: Item) -> int:
    """Maximum number of look-ups for an item of a condition, before an index is walked for it."""
    tags = min(len(item.tags), FIRST_MAX) + len(item.any_tags)
    return 1 + TAG_PROBES * tags + min(len(item.types), FIRST_MAX)


@dataclass(slots=True)
class AppendBatch:
    """Requests of one append call, with a summary of their content, to keep out those that must wait."""

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
    changed: set[Hashable] = field(default_factory=set)
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
        """True if the request can only be decided after this batch is stored.

        It shares an id with the batch, so that its facts may turn out to be known; or the new key of a data subject; or
        an effect that writes; or a fact of the batch may match its condition, and so fail or satisfy it: append
        compares with what is stored only. A wrong True costs one more call.
        """
        if self.chosen_ids and any(fact.chosen_id and fact.id in self.chosen_ids for fact in request.facts):
            return True
        if self.new_keys and any(fact.new_key and fact.data_subject in self.new_keys for fact in request.facts):
            return True
        if self.changed and not self.changed.isdisjoint(map(changed_object, request.effects)):
            return True
        if request.condition is None or not self.requests:
            return False
        preconditions = request.condition.preconditions
        self.comparisons += len(preconditions)
        if self.comparisons > GROUP_COMPARISONS_MAX:
            return True
        self._look_through()
        return any(self._may_match(each.item) for each in preconditions)

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
        if request.effects:
            self.changed.update(map(changed_object, request.effects))
            self.changed.discard(None)

    def _may_match(self, item: Item) -> bool:
        """True if each part of an item, taken alone, matches some fact of the batch."""
        return (
            self.tags.issuperset(item.tags)
            and not (item.any_tags and self.tags.isdisjoint(item.any_tags))
            and not (item.namespaces and self.namespaces.isdisjoint(item.namespaces))
            and not (item.types and self.types.isdisjoint(item.types))
        )

    def _look_through(self) -> None:
        """Collect the content that conditions are compared with; called only if there is a condition."""
        for request in self.requests[self.looked_through :]:
            for fact in request.facts:
                self.tags.update(fact.tags)
                self.namespaces.add(fact.namespace)
                self.types.add(fact.type)
        self.looked_through = len(self.requests)
