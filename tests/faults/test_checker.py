"""The checker accepts a good history, and finds each way in which one can be bad."""

from typing import Any

import msgspec
import pytest

from tests.faults.checker import check
from tests.faults.histories import (
    History,
    Mutation,
    Writer,
    change,
    change_outcome,
    fact_of,
    facts_of,
    published,
    reading,
    received,
    sent_of,
    stored,
)
from tests.faults.history import (
    Call,
    Condition,
    Event,
    Follow,
    Loss,
    Outcome,
    Publish,
    Recorder,
    Seen,
    read,
)

SLOT, WINNER = Condition("SlotTaken", "slot-1", 0), 4
DOUBTED, REFUSED, GIVEN_UP = "d", "r", "g"


def good_history() -> History:
    writer = Writer()
    writer.publish("publisher-0", "a")
    writer.publish("publisher-1", "b1", "b2")
    writer.publish("conditional-0", "c", type="SlotTaken", condition=SLOT)
    failed = Publish([sent_of("e", "SlotTaken", SLOT)], SLOT)
    writer.call("conditional-1", failed, Outcome(409, "condition-failed", conflict=WINNER))
    # Killed between commit and answer, then repeated.
    doubted = [sent_of(DOUBTED)]
    writer.call("publisher-0", Publish(doubted), Outcome(0, "ReadError"))
    positions = writer.write(doubted)
    time = writer.log[-1].published_at
    writer.call("publisher-0", Publish(doubted), Outcome(200, positions=positions, published_at=time))
    writer.call("publisher-1", Publish([sent_of(REFUSED)]), Outcome(503, "unavailable"))
    writer.call("publisher-1", Publish([sent_of(GIVEN_UP)]), Outcome(503, "outcome-unknown"))
    writer.page(0, 3)
    writer.page(2, 5, descending=True)
    writer.follow("follower", 0, 0, 3)
    writer.publish("publisher-1", "f")
    writer.follow("follower", 1, 3, 6)
    writer.follow("other", 0, 0, 6, end="ended")
    writer.export("auditor")
    return writer.history


def test_a_good_history_is_accepted() -> None:
    assert check(good_history()) == []


def test_a_history_is_the_same_after_it_was_written_and_read(tmp_path: Any) -> None:
    with Recorder(tmp_path / "history.jsonl") as recorder:
        for entry in good_history():
            recorder.add(entry)
    assert list(read(tmp_path / "history.jsonl")) == good_history()


def drop_an_event(history: History) -> None:
    del history[received(history, "other", 4)]


def repeat_an_event(history: History) -> None:
    index = received(history, "other", 4)
    history.insert(index, history[index])


def swap_two_events(history: History) -> None:
    first, second = received(history, "other", 2), received(history, "other", 3)
    history[first], history[second] = history[second], history[first]


def resume_behind(history: History) -> None:
    change(history, reading(history, "follower", 1), request=Follow(1, "1:2"))


def resume_ahead(history: History) -> None:
    change(history, reading(history, "follower", 1), request=Follow(1, "1:4"))
    del history[received(history, "follower", 4)]


def send_again_after_resuming(history: History) -> None:
    event = history[received(history, "follower", 3)]
    history.insert(received(history, "follower", 4), msgspec.structs.replace(event, connection=1))


def give_a_wrong_cursor(history: History) -> None:
    change(history, received(history, "other", 3), cursor="1:4")


def stop_short_of_the_head(history: History) -> None:
    del history[received(history, "other", 6)]


def end_with_an_internal_error(history: History) -> None:
    history.insert(len(history) - 1, Event("other", 99.0, 0, "problem", "1:6", problem="internal-error"))


def forget_an_acknowledged_fact(history: History) -> None:
    stored(history, lambda facts: facts[:-1])


def acknowledge_what_is_not_there(history: History) -> None:
    change_outcome(history, published(history, GIVEN_UP), status=201, problem="", positions=(7,))


def acknowledge_another_position(history: History) -> None:
    change_outcome(history, published(history, "a"), positions=(2,))


def answer_a_retry_with_another_position(history: History) -> None:
    change_outcome(history, published(history, "d", 0), status=201, problem="", positions=(4,))


def publish_a_retry_twice(history: History) -> None:
    outcome = history[published(history, "d", 1)].outcome  # type: ignore[union-attr]
    for attempt in range(2):
        change(history, published(history, "d", attempt), outcome=msgspec.structs.replace(outcome, status=201))


def leave_a_hole(history: History) -> None:
    stored(history, lambda facts: [fact for fact in facts if fact.position != 5])


def store_an_id_twice(history: History) -> None:
    stored(history, lambda facts: [*facts, msgspec.structs.replace(facts[0], position=7)])


def show_two_facts_at_one_position(history: History) -> None:
    index = received(history, "other", 5)
    change(history, index, fact=msgspec.structs.replace(fact_of(history, index), id="another"))


def show_one_fact_at_two_positions(history: History) -> None:
    index = received(history, "other", 5)
    change(history, index, fact=msgspec.structs.replace(fact_of(history, index), id="a"))


def spell_a_fact_in_two_ways(history: History) -> None:
    index = received(history, "other", 5)
    change(history, index, fact=msgspec.structs.replace(fact_of(history, index), spelling="another"))


def let_a_seen_fact_vanish(history: History) -> None:
    stored(history, lambda facts: facts[:4])


def change_a_content(history: History) -> None:
    def edit(facts: list[Seen]) -> list[Seen]:
        facts[4] = msgspec.structs.replace(facts[4], content="another")
        return facts

    stored(history, edit)


def store_what_was_refused(history: History) -> None:
    refused = Seen(7, REFUSED, "OrderPlaced", ("order-1",), f"content of {REFUSED}", "line", "2027")
    stored(history, lambda facts: [*facts, refused])


def store_what_nobody_sent(history: History) -> None:
    stored(history, lambda facts: [*facts, Seen(7, "nobody's", "OrderPlaced", (), "content", "line", "2027")])


def store_half_of_a_batch(history: History) -> None:
    batch = Publish([sent_of("h1"), sent_of("h2")])
    history.insert(0, Call("publisher-0", 0.0, 90.0, batch, Outcome(0, "ReadError")))
    half = Seen(7, "h1", "OrderPlaced", ("order-1",), "content of h1", "line", "2027")
    stored(history, lambda facts: [*facts, half])


def tear_a_batch_apart(history: History) -> None:
    def edit(facts: list[Seen]) -> list[Seen]:
        facts[2], facts[4] = (
            msgspec.structs.replace(facts[4], position=3),
            msgspec.structs.replace(facts[2], position=5),
        )
        return facts

    stored(history, edit)


def let_two_win_one_condition(history: History) -> None:
    winner = Seen(7, "e", "SlotTaken", ("slot-1",), "content of e", "line", "2027")
    change_outcome(history, published(history, "e"), status=201, problem="", positions=(7,), published_at="2027")
    stored(history, lambda facts: [*facts, winner])


def fail_a_condition_without_a_reason(history: History) -> None:
    change_outcome(history, published(history, "e"), conflict=1)


def order_against_time(history: History) -> None:
    """`f`, the last fact, was acknowledged before the first publish began."""
    index = published(history, "f")
    for place, entry in enumerate(history):
        if isinstance(entry, Call):
            change(history, place, start=entry.start + 10, end=entry.end + 10)
        elif isinstance(entry, Event):
            change(history, place, at=entry.at + 10)
    change(history, index, start=1.0, end=2.0)


def let_time_go_back(history: History) -> None:
    def edit(facts: list[Seen]) -> list[Seen]:
        facts[5] = msgspec.structs.replace(facts[5], published_at="2026-11-23T09:00:00.000000Z")
        return facts

    stored(history, edit)


def drop_a_fact_from_a_page(history: History) -> None:
    index = reading(history, "reader")
    change_outcome(history, index, facts=facts_of(history, index)[1:])


def turn_a_page_around(history: History) -> None:
    index = reading(history, "reader", 1)
    change_outcome(history, index, facts=facts_of(history, index)[::-1])


def read_a_stale_head(history: History) -> None:
    change_outcome(history, reading(history, "reader"), head=4)


def answer_with_an_internal_error(history: History) -> None:
    change_outcome(history, published(history, REFUSED), status=500, problem="internal-error")


def refuse_a_valid_request(history: History) -> None:
    change_outcome(history, published(history, REFUSED), status=422, problem="invalid-request")


def leave_the_audit_out(history: History) -> None:
    del history[-1]


MUTATIONS: dict[Mutation, str] = {
    drop_an_event: "streams are exact",
    repeat_an_event: "streams are exact",
    swap_two_events: "streams are exact",
    resume_behind: "streams resume exactly",
    resume_ahead: "streams resume exactly",
    send_again_after_resuming: "streams are exact",
    give_a_wrong_cursor: "cursors stand behind their events",
    stop_short_of_the_head: "followers miss nothing",
    end_with_an_internal_error: "problems are expected",
    forget_an_acknowledged_fact: "acknowledged is present",
    acknowledge_what_is_not_there: "acknowledged is present",
    acknowledge_another_position: "acknowledged is present",
    answer_a_retry_with_another_position: "retries repeat the answer",
    publish_a_retry_twice: "retries repeat the answer",
    leave_a_hole: "positions are dense",
    store_an_id_twice: "ids are unique",
    show_two_facts_at_one_position: "readers agree",
    show_one_fact_at_two_positions: "ids are unique",
    spell_a_fact_in_two_ways: "readers agree",
    let_a_seen_fact_vanish: "readers agree",
    change_a_content: "acknowledged is present",
    store_what_was_refused: "refused is absent",
    store_what_nobody_sent: "stored was sent",
    store_half_of_a_batch: "batches are whole",
    tear_a_batch_apart: "batches are whole",
    let_two_win_one_condition: "conditions hold",
    fail_a_condition_without_a_reason: "failed conditions have reasons",
    order_against_time: "order agrees with time",
    let_time_go_back: "time never decreases",
    drop_a_fact_from_a_page: "reads are exact",
    turn_a_page_around: "reads are exact",
    read_a_stale_head: "reads are fresh",
    answer_with_an_internal_error: "answers are expected",
    refuse_a_valid_request: "answers are expected",
    leave_the_audit_out: "positions are dense",
}


@pytest.mark.parametrize(("mutate", "rule"), MUTATIONS.items(), ids=lambda it: getattr(it, "__name__", ""))
def test_a_bad_history_is_caught(mutate: Mutation, rule: str) -> None:
    history = good_history()
    mutate(history)
    assert rule in {violation.rule for violation in check(history)}


def lossy_history(*, acknowledged: bool) -> History:
    """A fail-over loses `b`, which a follower had seen; `c` then takes its position."""
    writer = Writer()
    writer.publish("publisher-0", "a")
    lost = [sent_of("b")]
    positions = writer.write(lost)
    outcome = Outcome(201, positions=positions, published_at=writer.log[-1].published_at)
    writer.call("publisher-0", Publish(lost), outcome if acknowledged else Outcome(503, "outcome-unknown"))
    writer.follow("follower", 0, 0, 2)
    writer.log.pop()
    writer.history.append(Loss(writer.moment(), 1, acknowledged))
    writer.publish("publisher-0", "c")
    writer.call("follower", Follow(1, "1:2"), Outcome(409, "cursor-forked"))
    writer.follow("follower-again", 0, 1, 2)
    writer.export("auditor")
    return writer.history


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_loss_that_is_told_is_accepted(acknowledged: bool) -> None:
    assert check(lossy_history(acknowledged=acknowledged)) == []


def test_a_loss_of_what_a_synchronous_standby_acknowledged_is_caught() -> None:
    history = [
        msgspec.structs.replace(entry, acknowledged=False) if isinstance(entry, Loss) else entry
        for entry in lossy_history(acknowledged=True)
    ]
    assert "acknowledged is present" in {violation.rule for violation in check(history)}


def test_a_loss_before_the_fork_is_caught() -> None:
    history = lossy_history(acknowledged=True)
    change(history, next(i for i, entry in enumerate(history) if isinstance(entry, Loss)), forked_after=2)
    assert {"acknowledged is present", "readers agree"} <= {violation.rule for violation in check(history)}


def test_a_loss_that_is_skipped_over_is_caught() -> None:
    history = lossy_history(acknowledged=True)
    index = reading(history, "follower", 1)
    change(history, index, outcome=Outcome(200))
    new = facts_of(history, len(history) - 1)[-1]
    history.insert(index + 1, Event("follower", 50.0, 1, "message", "2:2", new))
    assert "loss is told" in {violation.rule for violation in check(history)}


def test_a_lost_fact_that_was_published_again_at_its_position_is_accepted_where_it_is_told() -> None:
    history = lossy_history(acknowledged=False)
    again = msgspec.structs.replace(
        facts_of(history, len(history) - 1)[1], id="b", content="content of b", published_at="2027", spelling="again"
    )
    stored(history, lambda facts: [facts[0], again])
    history[published(history, "c")] = Call(
        "publisher-0", 20.0, 21.0, Publish([sent_of("b")]), Outcome(201, positions=(2,), published_at="2027")
    )
    change(history, received(history, "follower-again", 2), fact=again)
    assert check(history) == []
    del history[reading(history, "follower", 1)]
    assert "loss is told" in {violation.rule for violation in check(history)}
