"""The checker finds whoever publishes after a noticed fork, and before the epoch is raised."""

import msgspec
import pytest

from tests.faults.checker import check
from tests.faults.histories import (
    History,
    Mutation,
    Writer,
    change,
    change_outcome,
    published,
    reading,
    sent_of,
    stored,
)
from tests.faults.history import (
    Call,
    Condition,
    Event,
    Follow,
    Import,
    Imported,
    Loss,
    Outcome,
    Publish,
    Raised,
    Seen,
    Sent,
)

LOST_CURSOR = Condition("Decided", "decision-1", 2, 1)
FORKED = Outcome(503, "history-forked")


def fork_history() -> History:
    """`b` is lost. A newcomer publishes `c` in its place, until somebody notices; then none until the epoch is 2."""
    writer = Writer()
    writer.publish("publisher-0", "a")
    writer.publish("publisher-0", "b")
    writer.log.pop()
    writer.history.append(Loss(writer.moment(), 1, True))
    writer.publish("newcomer", "c")
    writer.call("publisher-0", Publish([sent_of("noticed")]), FORKED)
    writer.call("newcomer", Publish([sent_of("d")]), FORKED)
    writer.call("publisher-0", Publish([sent_of("a")]), FORKED)
    writer.call("importer", Import([sent_of("i")]), Outcome(503, "history-forked", imported=Imported(0, 0, 0, 0, 1)))
    since = writer.moment()
    writer.write([Sent("raised", "EpochRaised", ("epoch:2",), "told")])
    writer.history.append(Raised(since, writer.moment(), 2))
    decided = Publish([sent_of("decided", "Decided", LOST_CURSOR)], LOST_CURSOR)
    writer.call("decider", decided, Outcome(409, "cursor-forked"))
    writer.publish("newcomer", "e")
    writer.export("auditor")
    return writer.history


def test_a_fork_that_ends_publishing_is_accepted() -> None:
    assert check(fork_history()) == []


def acknowledge_a_publish(history: History) -> None:
    change(history, published(history, "d"), outcome=Outcome(201, positions=(3,), published_at="2027"))


def acknowledge_a_repetition(history: History) -> None:
    first = history[published(history, "a")]
    assert isinstance(first, Call)
    repeated = Outcome(200, positions=(1,), published_at=first.outcome.published_at)
    change(history, published(history, "a", 1), outcome=repeated)


def acknowledge_an_import(history: History) -> None:
    change(history, reading(history, "importer"), outcome=Outcome(200, imported=Imported(1, 0, 1, 3)))


def store_what_got_no_answer(history: History) -> None:
    """`d` is stored before the first fact of the epoch."""
    change(history, published(history, "d"), outcome=Outcome(0, "ReadError"))

    def edit(facts: list[Seen]) -> list[Seen]:
        unanswered = Seen(3, "d", "OrderPlaced", ("order-1",), "content of d", "line of d", facts[2].published_at)
        later = [msgspec.structs.replace(fact, position=fact.position + 1) for fact in facts[2:]]
        return [*facts[:2], unanswered, *later]

    stored(history, edit)


def notice_on_a_stream_alone(history: History) -> None:
    """The only notice is the end of a stream, and something is published after it."""
    at = published(history, "noticed")
    call = history[at]
    assert isinstance(call, Call)
    follow = Call("follower", call.start, call.start, Follow(0, "1:2"), Outcome(200))
    told = Event("follower", call.end, 0, "problem", "1:2", problem="history-forked")
    history[at : at + 1] = [follow, told]
    acknowledge_a_publish(history)


def let_a_lost_cursor_hold(history: History) -> None:
    change_outcome(history, reading(history, "decider"), status=201, problem="", positions=(4,))


def publish_nothing_more(history: History) -> None:
    del history[published(history, "e")]


def fork_without_a_loss(history: History) -> None:
    history[:] = [entry for entry in history if not isinstance(entry, Loss)]


MUTATIONS: dict[Mutation, str] = {
    acknowledge_a_publish: "a noticed fork ends publishing",
    acknowledge_a_repetition: "a noticed fork ends publishing",
    acknowledge_an_import: "a noticed fork ends publishing",
    store_what_got_no_answer: "a noticed fork ends publishing",
    notice_on_a_stream_alone: "a noticed fork ends publishing",
    let_a_lost_cursor_hold: "lost cursors never hold",
    publish_nothing_more: "publishing goes on",
    fork_without_a_loss: "answers are expected",
}


@pytest.mark.parametrize(("mutate", "rule"), MUTATIONS.items(), ids=lambda it: getattr(it, "__name__", ""))
def test_a_bad_fork_is_caught(mutate: Mutation, rule: str) -> None:
    history = fork_history()
    mutate(history)
    assert rule in {violation.rule for violation in check(history)}


def test_a_cursor_of_what_both_histories_have_may_hold() -> None:
    history = fork_history()
    shared = Condition("Decided", "decision-1", 1, 1)
    published_again = Publish([sent_of("decided", "Decided", shared)], shared)
    change(history, reading(history, "decider"), request=published_again)
    let_a_lost_cursor_hold(history)
    assert "lost cursors never hold" not in {violation.rule for violation in check(history)}


def test_a_publish_that_was_under_way_when_the_fork_was_noticed_is_accepted() -> None:
    history = fork_history()
    index = published(history, "c")
    late = history[published(history, "noticed")]
    assert isinstance(late, Call)
    change(history, index, end=late.end + 0.5)
    assert check(history) == []
