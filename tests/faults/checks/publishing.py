"""What publishers were told agrees with what is stored."""

from collections.abc import Iterator
from itertools import pairwise

from tests.faults.checks.past import Past, Publication, Violation
from tests.faults.history import Call, Condition, Import, Publish, Seen, Settle

RAISED, ERASED, REDACTED = "EpochRaised", "DataSubjectErased", "FactRedacted"
UNDERSTOOD = {"unavailable", "outcome-unknown"}


def acknowledged_is_present(past: Past) -> Iterator[Violation]:
    """Each acknowledged fact stands where the answer said, with the content that was sent."""
    for publication in past.publications.values():
        for call in publication.acknowledgements():
            for fact, position in zip(publication.facts, call.outcome.positions, strict=True):
                stored = past.log.get(position)
                if stored is None or (stored.id, stored.content) != (fact.id, fact.content):
                    yield Violation("acknowledged is present", f"{named(call)}: {fact.id} is not at {position}")
                elif len(publication.facts) == 1 and call.outcome.published_at != stored.published_at:
                    yield Violation("acknowledged is present", f"{fact.id} has another time than was answered")


def refused_is_absent(past: Past) -> Iterator[Violation]:
    """What was certainly not written never appears."""
    for publication in past.publications.values():
        if all(call.outcome.certainly_nothing for call in publication.attempts):
            for fact in publication.facts:
                stored = past.log.get(past.positions.get(fact.id, 0))
                if stored and stored.content == fact.content:
                    yield Violation("refused is absent", f"{named(publication.attempts[-1])}: {fact.id} is stored")


def stored_was_sent(past: Past) -> Iterator[Violation]:
    """Nothing is stored that nobody published, but for the service's own facts about what it was asked for."""
    sent = {fact for key in past.publications for fact in key}
    for position, fact in past.log.items():
        if (fact.id, fact.content) not in sent and not _tells_of_a_request(past, fact):
            yield Violation("stored was sent", f"nobody published {fact.id} at {position} with this content")


def _tells_of_a_request(past: Past, fact: Seen) -> bool:
    about = fact.aggregate_ids[0] if fact.aggregate_ids else ""
    erased, redacted = (
        fact.type == ERASED and about in past.erasures,
        fact.type == REDACTED and about in past.redactions,
    )
    return fact.type == RAISED or erased or redacted


def retries_repeat_the_answer(past: Past) -> Iterator[Violation]:
    """Facts are written by one attempt; all others get the same positions."""
    for publication in past.publications.values():
        acknowledged = publication.acknowledgements()
        if len({call.outcome.positions for call in acknowledged}) > 1:
            yield Violation("retries repeat the answer", f"{publication.facts[0].id} got different positions")
        if sum(call.outcome.status == 201 for call in acknowledged) > 1:
            yield Violation("retries repeat the answer", f"{publication.facts[0].id} was published twice")


def batches_are_whole(past: Past) -> Iterator[Violation]:
    """The facts of a request are all there, at consecutive positions, or none of them is, whatever was answered."""
    for publication in written(past):
        places = places_of(past, publication)
        if None in places:
            yield Violation("batches are whole", f"only a part of the batch of {publication.facts[0].id} is stored")
        elif any(after != before + 1 for before, after in pairwise(filter(None, places))):
            yield Violation("batches are whole", f"the batch of {publication.facts[0].id} is stored at {places}")


def order_agrees_with_time(past: Past) -> Iterator[Violation]:
    """What was published, or seen, before another publish began stands before it."""
    known_at: dict[int, float] = {}
    for _, at, fact in past.sightings():
        if not past.is_lost(fact):
            known_at[fact.position] = min(at, known_at.get(fact.position, at))
    latest_start, latest = 0.0, 0
    for position, publication in _by_position(past):
        acknowledged = min((call.end for call in publication.acknowledgements()), default=float("inf"))
        known = min(acknowledged, known_at.get(position, float("inf")))
        if known < publication.start:
            yield Violation("order agrees with time", f"{position} was seen before it was published")
        if known < latest_start:
            yield Violation("order agrees with time", f"{position} was known before the publish of {latest} began")
        if publication.start > latest_start:
            latest_start, latest = publication.start, position


def conditions_hold(past: Past) -> Iterator[Violation]:
    """No condition was broken when its facts were written: of those that exclude each other one wins."""
    matching: dict[tuple[str, str], list[int]] = {}
    for position in sorted(past.log):
        for aggregate_id in past.log[position].aggregate_ids:
            matching.setdefault((past.log[position].type, aggregate_id), []).append(position)
    for publication in written(past):
        condition, first = publication.request.condition, places_of(past, publication)[0]
        if condition and first:
            found = matching.get((condition.type, condition.aggregate_id), [])
            if broken := [position for position in found if condition.after < position < first]:
                yield Violation("conditions hold", f"{first} was published although {broken} match its condition")


def failed_conditions_have_reasons(past: Past) -> Iterator[Violation]:
    """Whoever was told that a condition failed was told a fact that it forbids."""
    for publication in past.publications.values():
        for call in publication.attempts:
            if call.outcome.problem == "condition-failed" and publication.request.condition:
                yield from _has_reason(past, call, publication.request.condition)


def _has_reason(past: Past, call: Call, condition: Condition) -> Iterator[Violation]:
    position = call.outcome.conflict or 0
    if past.loss and position > past.loss.forked_after and call.start < past.loss.at:
        return
    stored = past.log.get(position)
    if stored is None or position <= condition.after or not matches(condition, stored):
        yield Violation(
            "failed conditions have reasons", f"{named(call)}: failed because of {position}, which does not match"
        )


def matches(condition: Condition, fact: Seen) -> bool:
    return fact.type == condition.type and condition.aggregate_id in fact.aggregate_ids


def named(call: Call) -> str:
    return f"{call.process} at {call.start:.3f} s"


def written(past: Past) -> Iterator[Publication]:
    """Publications of which something is stored."""
    for publication in past.publications.values():
        if any(place is not None for place in places_of(past, publication)):
            yield publication


def places_of(past: Past, publication: Publication) -> list[int | None]:
    """Where the facts of a publication are stored, with the content that it sent."""
    return past.places(publication.facts)


def _by_position(past: Past) -> list[tuple[int, Publication]]:
    found = [
        (place, publication)
        for publication in written(past)
        for place in places_of(past, publication)
        if place is not None
    ]
    return sorted(found, key=lambda it: it[0])


def answers_are_expected(past: Past) -> Iterator[Violation]:
    """Under no fault is a valid request refused as wrong, or answered with an internal error."""
    for call in past.calls:
        outcome = call.outcome
        allowed = outcome.status in {0, 200, 201, 503}
        if isinstance(call.request, Publish | Import):
            allowed |= outcome.problem in {"condition-failed", "fact-id-conflict"}
        if isinstance(call.request, Settle):
            allowed |= outcome.problem in {"lease-lost", "earlier-open"}
        if isinstance(call.request, Publish) and outcome.problem == "data-subject-erased":
            allowed |= any(id in past.erasures for fact in call.request.facts for id in fact.aggregate_ids)
        if past.loss:
            allowed |= outcome.problem in {"cursor-forked", "cursor-ahead"}
        if past.loss and past.loss.acknowledged:
            allowed |= outcome.problem in {"data-subject-not-found", "fact-not-found"}
        understood = UNDERSTOOD | ({"history-forked"} if past.loss else set())
        if not allowed or (outcome.status == 503 and outcome.problem not in understood):
            yield Violation("answers are expected", f"{named(call)}: {outcome.status} {outcome.problem}")
