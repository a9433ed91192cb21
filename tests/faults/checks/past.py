"""The history of a run in the order in which the checks need it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.faults.history import Call, Entry, Event, Follow, Loss, Outcome, Publish, Read, Seen, Sent


@dataclass(frozen=True, slots=True)
class Violation:
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


@dataclass(slots=True)
class Publication:
    """All attempts to publish the same facts."""

    request: Publish
    attempts: list[Call] = field(default_factory=list)

    @property
    def facts(self) -> list[Sent]:
        return self.request.facts

    @property
    def start(self) -> float:
        return min(call.start for call in self.attempts)

    def acknowledgements(self) -> list[Call]:
        return [call for call in self.attempts if call.outcome.acknowledged]


@dataclass(slots=True)
class Connection:
    """One stream of a follower."""

    process: str
    start: float
    request: Follow
    outcome: Outcome
    events: list[Event] = field(default_factory=list)


class Past:
    """`log` is what is stored at the end. `lost` are facts that were seen and that a fail-over was allowed to lose."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.calls: list[Call] = []
        self.publications: dict[tuple[tuple[str, str], ...], Publication] = {}
        self.reads: list[Call] = []
        self.connections: dict[str, list[Connection]] = defaultdict(list)
        self.loss: Loss | None = None
        for entry in entries:
            match entry:
                case Call():
                    self._add(entry)
                case Event():
                    self.connections[entry.process][entry.connection].events.append(entry)
                case Loss():
                    self.loss = entry
        audits = [call for call in self.reads if _is_audit(call)]
        self.log: dict[int, Seen] = {fact.position: fact for fact in audits[-1].outcome.facts} if audits else {}
        self.positions = {fact.id: position for position, fact in self.log.items()}
        self.lost: dict[int, Seen] = {}
        if self.loss:
            self._forget_what_was_lost(self.loss)

    def sightings(self) -> Iterator[tuple[str, float, Seen]]:
        """Who received which fact, and when."""
        for call in self.reads:
            for fact in call.outcome.facts:
                yield call.process, call.end, fact
        for process, connections in self.connections.items():
            for event in (event for connection in connections for event in connection.events):
                if event.fact:
                    yield process, event.at, event.fact

    def is_lost(self, fact: Seen) -> bool:
        return self.lost.get(fact.position) == fact

    def _add(self, call: Call) -> None:
        self.calls.append(call)
        match call.request:
            case Publish():
                key = tuple((fact.id, fact.content) for fact in call.request.facts)
                self.publications.setdefault(key, Publication(call.request)).attempts.append(call)
            case Read():
                self.reads.append(call)
            case Follow():
                self.connections[call.process].append(Connection(call.process, call.start, call.request, call.outcome))

    def _forget_what_was_lost(self, loss: Loss) -> None:
        """Facts behind the fork were seen, or acknowledged, by those who asked before the fail-over."""
        asked = [(call.start, call.outcome.facts) for call in self.reads]
        for connections in self.connections.values():
            asked += [(it.start, [event.fact for event in it.events if event.fact]) for it in connections]
        for start, facts in asked:
            for fact in facts:
                if fact.position > loss.forked_after and start < loss.at and self.log.get(fact.position) != fact:
                    self.lost.setdefault(fact.position, fact)
        if loss.acknowledged:
            for publication in self.publications.values():
                publication.attempts[:] = [call for call in publication.attempts if not self._was_lost(call, loss)]
            self.publications = {key: it for key, it in self.publications.items() if it.attempts}

    def _was_lost(self, call: Call, loss: Loss) -> bool:
        if not call.outcome.acknowledged or call.start > loss.at or not isinstance(call.request, Publish):
            return False
        return any(
            position > loss.forked_after and self.positions.get(fact.id) != position
            for fact, position in zip(call.request.facts, call.outcome.positions, strict=True)
        )


def _is_audit(call: Call) -> bool:
    request = call.request
    return (
        isinstance(request, Read)
        and (request.after, request.limit, request.type) == (0, None, None)
        and call.outcome.status == 200
    )
