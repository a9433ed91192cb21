"""The checker finds each way in which a subscription can be broken."""

import msgspec
import pytest

from tests.faults.checker import check
from tests.faults.histories import History, Mutation, Writer, change, change_outcome, reading
from tests.faults.history import Call, Claim, Handed, Outcome, Settle

TYPE = "OrderPlaced"
LEASE_SECONDS = 100.0
FIRST, AGAIN, LAST = 0, 1, 2  # the claims


def handed(writer: Writer, lease: int, *positions: int) -> list[Handed]:
    return [Handed(f"1.{lease}.{position}", 1, writer.log[position - 1]) for position in positions]


def claim(writer: Writer, process: str, *facts: Handed) -> None:
    writer.call(process, Claim(TYPE, 10, LEASE_SECONDS), Outcome(200, handed=list(facts)))


def settle(writer: Writer, process: str, how: str, facts: list[Handed], *refused: Handed) -> None:
    leases = tuple(fact.lease for fact in refused)
    outcome = Outcome(409, "lease-lost", refused=leases) if leases else Outcome(200)
    writer.call(process, Settle(how, [fact.lease for fact in facts]), outcome)


def work_history() -> History:
    """Of three facts of one aggregate, a worker returns two and is late for them; others have them by then."""
    writer = Writer()
    writer.publish("publisher-0", "a", "b", "c")
    first, second, third = (
        handed(writer, lease, *positions) for lease, positions in ((7, (1, 2, 3)), (8, (2,)), (9, (3,)))
    )
    claim(writer, "worker-0", *first)
    settle(writer, "worker-0", "ack", first[:1])
    settle(writer, "worker-0", "nack", first[1:])
    claim(writer, "worker-1", *second)
    settle(writer, "worker-0", "ack", first, *first[1:])
    settle(writer, "worker-1", "ack", second)
    claim(writer, "worker-2", *third)
    settle(writer, "worker-2", "ack", third)
    writer.export("auditor")
    return writer.history


def test_good_work_is_accepted() -> None:
    assert check(work_history()) == []


def claims(history: History) -> list[int]:
    return [place for place, it in enumerate(history) if isinstance(it, Call) and isinstance(it.request, Claim)]


def acks(history: History, process: str) -> list[int]:
    return [
        place
        for place, it in enumerate(history)
        if isinstance(it, Call) and it.process == process and isinstance(it.request, Settle) and it.request.how == "ack"
    ]


def hand_out_what_is_done(history: History) -> None:
    call = history[claims(history)[LAST]]
    assert isinstance(call, Call)
    facts = [msgspec.structs.replace(fact, lease="1.9.2") for fact in _handed(history, AGAIN)]
    change_outcome(history, claims(history)[LAST], handed=[*facts, *call.outcome.handed])


def accept_an_acknowledgement_of_another_lease(history: History) -> None:
    place = acks(history, "worker-0")[1]
    change_outcome(history, place, status=200, problem="", refused=())


def hand_out_what_another_worker_has(history: History) -> None:
    """The second claim comes before the first worker says anything."""
    second = history.pop(claims(history)[AGAIN])
    assert isinstance(second, Call)
    begin = claims(history)[FIRST]
    first = history[begin]
    assert isinstance(first, Call)
    moved = msgspec.structs.replace(second, start=first.end + 0.1, end=first.end + 0.2)
    history.insert(begin + 1, moved)


def hand_out_a_later_fact_first(history: History) -> None:
    facts = _handed(history, LAST)
    change_outcome(history, claims(history)[AGAIN], handed=facts)


def swap_facts_in_a_claim(history: History) -> None:
    change_outcome(history, claims(history)[FIRST], handed=_handed(history, FIRST)[::-1])


def leave_a_fact_out(history: History) -> None:
    del history[acks(history, "worker-2")[0]]


def refuse_the_last_acknowledgement(history: History) -> None:
    change_outcome(history, acks(history, "worker-2")[0], status=409, problem="lease-lost", refused=("1.9.3",))


def answer_an_acknowledgement_with_an_internal_error(history: History) -> None:
    change_outcome(history, acks(history, "worker-1")[0], status=500, problem="internal-error")


def hand_out_other_content(history: History) -> None:
    fact = _handed(history, LAST)[0]
    changed = msgspec.structs.replace(fact, fact=msgspec.structs.replace(fact.fact, spelling="another"))
    change_outcome(history, claims(history)[LAST], handed=[changed])


def _handed(history: History, nth: int) -> list[Handed]:
    call = history[claims(history)[nth]]
    assert isinstance(call, Call)
    return list(call.outcome.handed)


MUTATIONS: dict[Mutation, str] = {
    hand_out_what_is_done: "acknowledged facts are done",
    accept_an_acknowledgement_of_another_lease: "facts are acknowledged once",
    hand_out_what_another_worker_has: "aggregates are in one pair of hands",
    hand_out_a_later_fact_first: "aggregates come in order",
    swap_facts_in_a_claim: "aggregates come in order",
    leave_a_fact_out: "every fact is acknowledged",
    refuse_the_last_acknowledgement: "every fact is acknowledged",
    answer_an_acknowledgement_with_an_internal_error: "answers are expected",
    hand_out_other_content: "readers agree",
}


@pytest.mark.parametrize(("mutate", "rule"), MUTATIONS.items(), ids=lambda it: getattr(it, "__name__", ""))
def test_bad_work_is_caught(mutate: Mutation, rule: str) -> None:
    history = work_history()
    mutate(history)
    assert rule in {violation.rule for violation in check(history)}


def test_an_acknowledgement_without_an_answer_may_be_done_or_not() -> None:
    history = work_history()
    change(history, acks(history, "worker-2")[0], outcome=Outcome(0, "ReadError"))
    assert check(history) == []


def test_a_lease_that_ran_out_holds_nothing() -> None:
    history = work_history()
    first = reading(history, "worker-0")
    change(history, first, request=Claim(TYPE, 10, 0.5))
    hand_out_what_another_worker_has(history)
    assert "aggregates are in one pair of hands" not in {violation.rule for violation in check(history)}
