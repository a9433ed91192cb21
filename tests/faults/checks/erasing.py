"""What was erased or redacted stays gone, nothing else is, and the log tells of each once."""

from collections.abc import Iterator, Mapping

from tests.faults.checks.past import Past, Violation
from tests.faults.checks.publishing import ERASED, REDACTED, named
from tests.faults.history import Call, Seen

POLL_SECONDS = 5.0  # after which every process has forgotten a payload, however busy the machine is


def erased_stays_gone(past: Past) -> Iterator[Violation]:
    """What an answer says is gone is gone at the end, and in all that is read from a poll after that answer on."""
    gone_from = _acknowledged_at(past)
    for fact in past.log.values():
        for request in _requests_for(fact):
            if request in gone_from and _gone_at(past, fact.position) != request[0]:
                yield Violation("erased stays gone", f"{fact.id} at {fact.position} has its payload at the end")
    for process, began, fact in _readings(past):
        for request in _requests_for(fact):
            if fact.gone != request[0] and gone_from.get(request, began) + POLL_SECONDS < began:
                text = f"{process}, which began at {began:.3f} s, got the payload of {fact.id}"
                yield Violation("erased stays gone", text)


def erased_keys_are_gone(past: Past) -> Iterator[Violation]:
    """The database has no key of a data subject whose erasure was acknowledged."""
    held = past.keys
    for (kind, name), at in _acknowledged_at(past).items() if held else ():
        if held and kind == "erased" and at < held.at and name in held.data_subjects:
            yield Violation("erased keys are gone", f"the key of {name} is stored at {held.at:.3f} s")


def only_what_was_asked_for_is_gone(past: Past) -> Iterator[Violation]:
    """A payload is gone only where somebody had asked for that, and was not certainly refused."""
    for process, at, fact in past.raw_sightings():
        if fact.gone:
            about = fact.data_subject if fact.gone == "erased" else fact.id
            asked = (past.erasures if fact.gone == "erased" else past.redactions).get(about, [])
            if not any(call.start < at and not call.outcome.certainly_nothing for call in asked):
                text = f"{process} at {at:.3f} s: {fact.id} is {fact.gone}, which nobody asked for"
                yield Violation("only what was asked for is gone", text)


def erasures_are_told_once(past: Past) -> Iterator[Violation]:
    """The log tells once of what was erased or redacted, at the time that was answered."""
    told = _told(past)
    for (kind, about), places in told.items():
        if len(places) > 1:
            yield Violation("erasures are told once", f"{about} is {kind} at {places}")
        at = past.log[places[0]].published_at
        for call in _acknowledgements(past, kind, about):
            if call.outcome.published_at != at:
                text = f"{named(call)}: {about} was {kind} at {call.outcome.published_at}, the log says {at}"
                yield Violation("erasures are told once", text)


def what_is_told_is_gone(past: Past) -> Iterator[Violation]:
    """Payloads are gone if the log tells of it, and only then; nothing about an erased data subject follows."""
    told = _told(past)
    for fact in past.log.values():
        kind = _gone_at(past, fact.position)
        wanted = {request[0]: request for request in _requests_for(fact) if request in told}
        if kind and kind not in wanted:
            yield Violation("what is told is gone", f"nothing in the log tells that {fact.id} is {kind}")
        if not kind and wanted:
            yield Violation("what is told is gone", f"the log tells that {fact.id} is gone, and it is not")
        if "erased" in wanted and fact.position > told[wanted["erased"]][0]:
            yield Violation("what is told is gone", f"{fact.id} is about {fact.data_subject}, which was erased before")


def gone_facts_agree(past: Past) -> Iterator[Violation]:
    """All readers get the same bytes of a fact whose payload is gone."""
    spellings: dict[tuple[int, str, str, str], str] = {}
    for process, at, fact in past.raw_sightings():
        if fact.gone:
            key = (fact.position, fact.id, fact.published_at, fact.gone)
            if spellings.setdefault(key, fact.spelling) != fact.spelling:
                yield Violation("gone facts agree", f"{process} at {at:.3f} s: {fact.id} is spelled in another way")


def _requests_for(fact: Seen) -> Iterator[tuple[str, str]]:
    """What would let the payload of a fact go."""
    yield "redacted", fact.id
    if fact.data_subject:
        yield "erased", fact.data_subject


def _acknowledged_at(past: Past) -> Mapping[tuple[str, str], float]:
    """When somebody was first told that something is gone, but for what a fail-over was allowed to lose."""
    at: dict[tuple[str, str], float] = {}
    for kind, requests in (("erased", past.erasures), ("redacted", past.redactions)):
        for about in requests:
            for call in _acknowledgements(past, kind, about):
                at[kind, about] = min(call.end, at.get((kind, about), call.end))
    return at


def _acknowledgements(past: Past, kind: str, about: str) -> list[Call]:
    calls = (past.erasures if kind == "erased" else past.redactions).get(about, [])
    loss = past.loss
    return [
        call
        for call in calls
        if call.outcome.acknowledged and not (loss and loss.acknowledged and call.start <= loss.at)
    ]


def _told(past: Past) -> dict[tuple[str, str], list[int]]:
    """Where the log tells of what is gone."""
    told: dict[tuple[str, str], list[int]] = {}
    for position in sorted(past.log):
        fact = past.log[position]
        if fact.type in {ERASED, REDACTED}:
            kind = "erased" if fact.type == ERASED else "redacted"
            told.setdefault((kind, fact.aggregate_ids[0]), []).append(position)
    return told


def _gone_at(past: Past, position: int) -> str:
    return past.gone[position].gone if position in past.gone else ""


def _readings(past: Past) -> Iterator[tuple[str, float, Seen]]:
    """Who got which fact from a read or a stream, and when that began."""
    for call in past.reads:
        for fact in call.outcome.facts:
            yield call.process, call.start, fact
    for process, connections in past.connections.items():
        for connection in connections:
            for event in connection.events:
                if event.fact:
                    yield process, connection.start, event.fact
