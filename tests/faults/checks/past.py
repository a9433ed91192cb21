"""The history of a run in the order in which the checks need it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from tests.faults.history import (
    Call,
    Claim,
    Entry,
    Erase,
    Event,
    Follow,
    Import,
    Keys,
    Loss,
    Outcome,
    Publish,
    Raised,
    Read,
    Redact,
    Seen,
    Sent,
    Settle,
)

NOT_TOLD = Outcome(0, "import")  # an import does not tell where a line stands


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
class Importation:
    """All attempts to import the same file, which come one after the other."""

    facts: list[Sent]
    attempts: list[Call] = field(default_factory=list)


@dataclass(slots=True)
class Connection:
    """One stream of a follower."""

    process: str
    start: float
    request: Follow
    outcome: Outcome
    events: list[Event] = field(default_factory=list)


class Past:
    """`log` is what is stored at the end. `lost` are facts that were seen and that a fail-over was allowed to lose.

    Both have the facts as they were before their payloads went; `gone` has those of the log that have none at the end.
    `publications` has each line of an import as one of its own.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.calls: list[Call] = []
        self.publications: dict[tuple[tuple[str, str], ...], Publication] = {}
        self.reads: list[Call] = []
        self.connections: dict[str, list[Connection]] = defaultdict(list)
        self.imports: dict[tuple[tuple[str, str], ...], Importation] = {}
        self.erasures: dict[str, list[Call]] = defaultdict(list)
        self.redactions: dict[str, list[Call]] = defaultdict(list)
        self.claims: list[Call] = []
        self.settlements: list[Call] = []
        self.loss: Loss | None = None
        self.raised: Raised | None = None
        self.keys: Keys | None = None
        for entry in entries:
            self._take(entry)
        self._before: dict[tuple[int, str, str], Seen] = {}
        self._find_what_was_before()
        audits = [call for call in self.reads if _is_audit(call)]
        stored = audits[-1].outcome.facts if audits else []
        self.gone: dict[int, Seen] = {fact.position: fact for fact in stored if fact.gone}
        self.log: dict[int, Seen] = {fact.position: self.as_it_was(fact) for fact in stored}
        self.positions = {fact.id: position for position, fact in self.log.items()}
        self.lost: dict[int, Seen] = {}
        self._forget_what_was_lost()

    def sightings(self) -> Iterator[tuple[str, float, Seen]]:
        """Who received which fact, and when, as it was before its payload went."""
        for process, at, fact in self.raw_sightings():
            yield process, at, self.as_it_was(fact)

    def raw_sightings(self) -> Iterator[tuple[str, float, Seen]]:
        for call in self.reads:
            for fact in call.outcome.facts:
                yield call.process, call.end, fact
        for call in self.claims:
            for handed in call.outcome.handed:
                yield call.process, call.end, handed.fact
        for process, connections in self.connections.items():
            for event in (event for connection in connections for event in connection.events):
                if event.fact:
                    yield process, event.at, event.fact

    def is_lost(self, fact: Seen) -> bool:
        return self.lost.get(fact.position) == self.as_it_was(fact)

    def as_it_was(self, fact: Seen) -> Seen:
        """A fact before its payload went, or as it is, where that agrees with nothing that was seen or sent."""
        before = self._before.get(_key_of(fact)) if fact.gone else None
        if before and (before.type, before.aggregate_ids) == (fact.type, fact.aggregate_ids):
            return before
        return fact

    def places(self, facts: Iterable[Sent]) -> list[int | None]:
        """Where facts are stored with the content that was sent."""
        places = [(fact, self.positions.get(fact.id)) for fact in facts]
        return [place if place and self.log[place].content == fact.content else None for fact, place in places]

    def _find_what_was_before(self) -> None:
        """Of each fact whose payload went, how it was seen before; if it never was, as it was sent."""
        gone = {_key_of(fact): fact for _, _, fact in self.raw_sightings() if fact.gone}
        for _, _, fact in self.raw_sightings() if gone else ():
            if not fact.gone and _key_of(fact) in gone:
                self._before.setdefault(_key_of(fact), fact)
        sent = {id: content for key in self.publications for id, content in key} if gone else {}
        for key, fact in gone.items():
            content = sent.get(fact.id, fact.content)
            self._before.setdefault(key, msgspec.structs.replace(fact, content=content, gone=""))

    def _take(self, entry: Entry) -> None:
        match entry:
            case Call():
                self._add(entry)
            case Event():
                self.connections[entry.process][entry.connection].events.append(entry)
            case Loss():
                self.loss = entry
            case Raised():
                self.raised = entry
            case Keys():
                self.keys = entry

    def _add(self, call: Call) -> None:
        self.calls.append(call)
        match call.request:
            case Publish():
                key = tuple((fact.id, fact.content) for fact in call.request.facts)
                self.publications.setdefault(key, Publication(call.request)).attempts.append(call)
            case Import():
                self._add_import(call, call.request)
            case Erase():
                self.erasures[call.request.data_subject].append(call)
            case Redact():
                self.redactions[call.request.id].append(call)
            case Read():
                self.reads.append(call)
            case Claim() | Settle():
                (self.claims if isinstance(call.request, Claim) else self.settlements).append(call)
            case Follow():
                self.connections[call.process].append(Connection(call.process, call.start, call.request, call.outcome))

    def lost_progress(self, call: Call) -> bool:
        """Whether a fail-over was allowed to lose what an import had reported."""
        progress = call.outcome.imported
        if self.loss is None or not self.loss.acknowledged or progress is None or call.start > self.loss.at:
            return False
        return progress.position > self.loss.forked_after

    def _add_import(self, call: Call, request: Import) -> None:
        file = tuple((fact.id, fact.content) for fact in request.facts)
        self.imports.setdefault(file, Importation(request.facts)).attempts.append(call)
        for line, fact in zip(file, request.facts, strict=True):
            alone = Publish([fact])
            attempt = Call(call.process, call.start, call.end, alone, NOT_TOLD)
            self.publications.setdefault((line,), Publication(alone)).attempts.append(attempt)

    def _forget_what_was_lost(self) -> None:
        """Facts behind the fork were seen, or acknowledged, by those who asked before the fail-over."""
        loss = self.loss
        if loss is None:
            return
        asked = [(call.start, call.outcome.facts) for call in self.reads]
        asked += [(call.start, [handed.fact for handed in call.outcome.handed]) for call in self.claims]
        for connections in self.connections.values():
            asked += [(it.start, [event.fact for event in it.events if event.fact]) for it in connections]
        for start, facts in asked:
            for fact in map(self.as_it_was, facts):
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


def _key_of(fact: Seen) -> tuple[int, str, str]:
    return fact.position, fact.id, fact.published_at


def _is_audit(call: Call) -> bool:
    request = call.request
    return (
        isinstance(request, Read)
        and (request.after, request.limit, request.type) == (0, None, None)
        and call.outcome.status == 200
    )
