"""What readers received agrees with what is stored, and with what other readers received."""

from collections.abc import Iterable, Iterator
from typing import cast

from tests.faults.checks.past import Past, Violation
from tests.faults.checks.publishing import named
from tests.faults.history import Call, Import, Publish, Read


def positions_are_dense(past: Past) -> Iterator[Violation]:
    if not past.log:
        yield Violation("positions are dense", "the history has no export of the whole log at its end")
    for expected, position in enumerate(sorted(past.log), 1):
        if position != expected:
            yield Violation("positions are dense", f"the log has {position} where {expected} should be")
            return


def ids_are_unique(past: Past) -> Iterator[Violation]:
    """An id stands at one position, for everybody."""
    places: dict[str, int] = {}
    for process, _, fact in past.sightings():
        if places.setdefault(fact.id, fact.position) != fact.position and not past.loss:
            text = f"{process} got {fact.id} at {fact.position}, another reader at {places[fact.id]}"
            yield Violation("ids are unique", text)
    if len(past.positions) != len(past.log):
        yield Violation("ids are unique", "an id is stored at two positions")


def readers_agree(past: Past) -> Iterator[Violation]:
    """All that was seen is stored, byte by byte, and nothing that was seen vanished."""
    for process, at, fact in past.sightings():
        if past.log.get(fact.position) != fact and past.lost.get(fact.position) != fact:
            what = "differs" if fact.position in past.log else "vanished"
            yield Violation("readers agree", f"{process} at {at:.3f} s: {fact.id} at {fact.position} {what}")


def time_never_decreases(past: Past) -> Iterator[Violation]:
    latest = ""
    for position in sorted(past.log):
        if past.log[position].published_at < latest:
            yield Violation("time never decreases", f"published_at goes back at {position}")
        latest = past.log[position].published_at


def reads_are_exact(past: Past) -> Iterator[Violation]:
    """A page or an export has each matching fact of its range once, in its order."""
    for call in past.reads:
        if call.outcome.status == 200 and not _was_of_lost_history(past, call):
            request = cast(Read, call.request)
            expected = list(selected(past, request.type, after=request.after, until=call.outcome.through))
            if request.descending:
                after = max(request.after, call.outcome.through)
                expected = list(selected(past, request.type, after=after, until=call.outcome.head))[::-1]
            if [fact.position for fact in call.outcome.facts] != expected:
                yield Violation("reads are exact", f"{named(call)}: the facts after {request.after} are not all there")


def reads_are_fresh(past: Past) -> Iterator[Violation]:
    """A read sees every publish that was acknowledged before it began."""
    acknowledged = sorted(
        (call.end, max(call.outcome.positions))
        for publication in past.publications.values()
        for call in publication.acknowledgements()
    )
    acknowledged += sorted(
        (call.end, call.outcome.imported.position)
        for importation in past.imports.values()
        for call in importation.attempts
        if call.outcome.imported and not past.lost_progress(call)
    )
    acknowledged.sort()
    highest, index = 0, 0
    for call in sorted(past.reads, key=lambda call: call.start):
        while index < len(acknowledged) and acknowledged[index][0] < call.start:
            highest = max(highest, acknowledged[index][1])
            index += 1
        if call.outcome.status == 200 and call.outcome.head < highest:
            yield Violation("reads are fresh", f"{named(call)}: the head was {call.outcome.head}, not yet {highest}")


def selected(past: Past, type: str | None, *, after: int, until: int) -> Iterator[int]:
    for position in range(after + 1, until + 1):
        fact = past.log.get(position)
        if fact and type in (None, fact.type):
            yield position


def _was_of_lost_history(past: Past, call: Call) -> bool:
    return past.loss is not None and call.start < past.loss.at and call.outcome.head > past.loss.forked_after


def count(calls: Iterable[Call]) -> tuple[int, int, int]:
    """Publishes and imports that were acknowledged, refused for want of a database, and of unknown outcome."""
    acknowledged = refused = unknown = 0
    for outcome in (call.outcome for call in calls if isinstance(call.request, Publish | Import)):
        acknowledged += outcome.acknowledged
        refused += outcome.status == 503 and outcome.certainly_nothing
        unknown += not outcome.acknowledged and not outcome.certainly_nothing
    return acknowledged, refused, unknown
