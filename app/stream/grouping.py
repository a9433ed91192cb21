"""Requests on their way to the log, and which of them may be appended by the same call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from app.domain.condition import Condition
from app.domain.errors import FactwireError
from app.domain.fact import NewFact
from app.domain.position import Cursor, Position

GROUP_FACTS_MAX = 1000
GROUP_REQUESTS_MAX = 512  # 50 bytes come back for each that is refused: within the 32 KiB of a socket's buffer
GROUP_BYTES_MAX = 8 * 1024 * 1024


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
    """One request on its way through the publisher, which hears of its end through `on_end`."""

    facts: Sequence[NewFact]
    condition: Condition | None
    tell: Callable[[Outcome], None]
    on_end: Callable[["Request", Outcome | None], None]
    arrived_at: float
    give_up_at: float
    bytes: int = field(init=False)
    ended: bool = False

    def __post_init__(self) -> None:
        self.bytes = sum([len(fact.document) + len(fact.seal) for fact in self.facts])

    def end(self, outcome: Outcome | None) -> None:
        """Tell the publisher its outcome, or with None that nobody waits for it any more. Only the first counts."""
        if not self.ended:
            self.ended = True
            self.on_end(self, outcome)


@dataclass(slots=True)
class Group:
    """The requests of one call, and what they contain, to keep out those that must not be in the same call."""

    requests: list[Request] = field(default_factory=list)
    facts: int = 0
    bytes: int = 0
    chosen_ids: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)
    kinds: set[tuple[str, str]] = field(default_factory=set)
    looked_through: int = 0

    def has_room_for(self, request: Request) -> bool:
        return not self.requests or (
            len(self.requests) < GROUP_REQUESTS_MAX
            and self.facts + len(request.facts) <= GROUP_FACTS_MAX
            and self.bytes + request.bytes <= GROUP_BYTES_MAX
        )

    def must_precede(self, request: Request) -> bool:
        """Whether the request can only be decided once this group is stored.

        It shares an id, so that its facts may turn out to be known; or a fact of this group may match its condition,
        which append compares with the stored facts only. Erring towards yes costs one more call.
        """
        if self.chosen_ids and any(fact.chosen_id and fact.id in self.chosen_ids for fact in request.facts):
            return True
        if request.condition is None or not self.requests:
            return False
        self._look_through()
        return any(
            self.tags.issuperset(item.tags)
            and (
                not (item.namespaces or item.types)
                or any(
                    (not item.namespaces or namespace in item.namespaces) and (not item.types or type in item.types)
                    for namespace, type in self.kinds
                )
            )
            for item in request.condition.fail_if_match.items
        )

    def add(self, request: Request) -> None:
        self.requests.append(request)
        self.facts += len(request.facts)
        self.bytes += request.bytes
        for fact in request.facts:
            if fact.chosen_id:
                self.chosen_ids.add(fact.id)

    def _look_through(self) -> None:
        """Note what a condition is compared with: only where there is one."""
        for request in self.requests[self.looked_through :]:
            for fact in request.facts:
                self.tags.update(fact.tags)
                self.kinds.add((fact.namespace, fact.type))
        self.looked_through = len(self.requests)
