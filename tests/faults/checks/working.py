"""What workers were given: each fact until it is done, in one pair of hands, in the order of each aggregate."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.faults.checks.past import Past, Violation
from tests.faults.checks.publishing import named
from tests.faults.history import Call, Claim, Handed, Settle


@dataclass(frozen=True, slots=True)
class Hold:
    """A fact in the hands of a worker: certainly so between two moments."""

    call: Call
    handed: Handed
    begin: float
    end: float


def acknowledged_facts_are_done(past: Past) -> Iterator[Violation]:
    """A fact is not handed out any more once its acknowledgement was accepted."""
    done: dict[int, float] = {}
    for ack, leases in _accepted(past):
        if not _may_be_lost(past, ack):
            for lease in leases:
                done[_position_of(lease)] = min(ack.end, done.get(_position_of(lease), ack.end))
    for call in past.claims:
        for handed in call.outcome.handed:
            if call.start > done.get(handed.fact.position, float("inf")):
                text = f"{named(call)}: {handed.fact.position} was acknowledged before"
                yield Violation("acknowledged facts are done", text)


def facts_are_acknowledged_once(past: Past) -> Iterator[Violation]:
    """Of the leases of a fact, the acknowledgement of one is accepted. It may be repeated."""
    accepted: dict[int, str] = {}
    for ack, leases in _accepted(past):
        for lease in leases if not _may_be_lost(past, ack) else ():
            if accepted.setdefault(_position_of(lease), lease) != lease:
                text = f"{named(ack)}: {lease} after {accepted[_position_of(lease)]}"
                yield Violation("facts are acknowledged once", text)


def aggregates_are_in_one_pair_of_hands(past: Past) -> Iterator[Violation]:
    """While a worker certainly has a fact, no claim begins and ends that gets a fact of the same aggregate."""
    for holds in _by_aggregate(past).values():
        holds.sort(key=lambda hold: hold.begin)
        for place, hold in enumerate(holds):
            for other in holds[place + 1 :]:
                if other.begin >= hold.end:
                    break
                inside = other.call is not hold.call and other.call.start > hold.begin and other.call.end < hold.end
                if inside and not _lies_across_a_loss(past, hold.call, other.call):
                    text = f"{named(other.call)}: {other.handed.fact.position}, and {hold.call.process} has "
                    yield Violation("aggregates are in one pair of hands", f"{text}{hold.handed.fact.position}")


def aggregates_come_in_order(past: Past) -> Iterator[Violation]:
    """A fact comes after the earlier ones of its aggregates are done, or with them."""
    if past.loss is not None or not past.claims:
        return
    matching = _matching_by_aggregate(past)
    may_be_done: dict[int, float] = {}
    for call in past.settlements:
        for lease in _leases_of(call, "ack"):
            may_be_done[_position_of(lease)] = min(call.start, may_be_done.get(_position_of(lease), call.start))
    for call in past.claims:
        given: set[int] = set()
        for fact in (handed.fact for handed in call.outcome.handed):
            earlier = {place for id in fact.aggregate_ids for place in matching[id] if place < fact.position}
            for place in sorted(earlier - given):
                if may_be_done.get(place, float("inf")) > call.end:
                    text = f"{named(call)}: {fact.position} came, and {place} was not done"
                    yield Violation("aggregates come in order", text)
            given.add(fact.position)


def every_fact_is_acknowledged(past: Past) -> Iterator[Violation]:
    """In the end, each matching fact was acknowledged by somebody whose acknowledgement was not refused."""
    if not past.claims:
        return
    done = {
        _position_of(lease)
        for call in past.settlements
        if not call.outcome.certainly_nothing or call.outcome.refused
        for lease in _leases_of(call, "ack")
        if lease not in call.outcome.refused
    }
    for position in sorted({position for positions in _matching_by_aggregate(past).values() for position in positions}):
        if position not in done:
            yield Violation("every fact is acknowledged", f"{position} was acknowledged by nobody")


def _accepted(past: Past) -> Iterator[tuple[Call, list[str]]]:
    """Acknowledgements with those of their leases that were accepted."""
    for call in past.settlements:
        if call.outcome.status == 200 or call.outcome.refused:
            yield call, [lease for lease in _leases_of(call, "ack") if lease not in call.outcome.refused]


def _leases_of(call: Call, how: str) -> list[str]:
    assert isinstance(call.request, Settle)
    return call.request.leases if call.request.how == how else []


def _position_of(lease: str) -> int:
    return int(lease.rpartition(".")[2])


def _by_aggregate(past: Past) -> dict[str, list[Hold]]:
    """Holds by aggregate id. One ends where its worker says something of it, or where its lease may have run out."""
    settled: dict[str, float] = {}
    for call in past.settlements:
        assert isinstance(call.request, Settle)
        for lease in call.request.leases:
            settled[lease] = min(call.start, settled.get(lease, call.start))
    holds: defaultdict[str, list[Hold]] = defaultdict(list)
    for call in past.claims:
        assert isinstance(call.request, Claim)
        runs_out = call.start + call.request.lease_seconds
        # What a worker returns takes later facts of the same claim with it.
        end = min([runs_out, *(settled.get(handed.lease, runs_out) for handed in call.outcome.handed)])
        for handed in call.outcome.handed:
            for id in handed.fact.aggregate_ids:
                holds[id].append(Hold(call, handed, call.end, end))
    return holds


def _matching_by_aggregate(past: Past) -> dict[str, list[int]]:
    """Positions of the facts of the subscription, by aggregate id."""
    types = {call.request.type for call in past.claims if isinstance(call.request, Claim)}
    found: defaultdict[str, list[int]] = defaultdict(list)
    for position, fact in past.log.items():
        for id in fact.aggregate_ids if fact.type in types else ():
            found[id].append(position)
    return found


def _may_be_lost(past: Past, call: Call) -> bool:
    """Whether a fail-over was allowed to lose what a call has done."""
    return past.loss is not None and call.start < past.loss.at


def _lies_across_a_loss(past: Past, first: Call, second: Call) -> bool:
    return past.loss is not None and first.start < past.loss.at <= second.end
