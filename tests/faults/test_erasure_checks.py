"""The checker finds each way in which an erasure, or a redaction, can be broken."""

from collections.abc import Callable

import msgspec
import pytest

from tests.faults.checker import check
from tests.faults.histories import (
    History,
    Mutation,
    Writer,
    change,
    change_outcome,
    facts_of,
    published,
    reading,
    sent_of,
    stored,
)
from tests.faults.history import Call, Erase, Keys, Loss, Outcome, Publish, Redact, Seen, Sent

CUSTOMER = "customer-1"
LONG = 20.0  # longer than any process keeps what was erased
NAMED, OTHER, ERASED, REDACTED = 0, 1, 2, 3  # where the facts stand in the log, from 0


def erasure_history() -> History:
    """A customer is erased at the second attempt, since the first one was in doubt; another fact is redacted."""
    writer = Writer()
    publish_about_a_customer(writer)
    writer.page(0, 2)
    writer.call("eraser-0", Erase(CUSTOMER), Outcome(503, "outcome-unknown"))
    tell(writer, "DataSubjectErased", CUSTOMER)
    go(writer, NAMED, "erased")
    at = writer.log[ERASED].published_at
    writer.call("eraser-0", Erase(CUSTOMER), Outcome(200, published_at=at))
    tell(writer, "FactRedacted", "other")
    go(writer, OTHER, "redacted")
    redacted = Outcome(200, positions=(2,), published_at=writer.log[REDACTED].published_at)
    writer.call("eraser-0", Redact("other"), redacted)
    late = Publish([Sent("late", "CustomerNamed", (CUSTOMER,), "content of late")])
    writer.call("eraser-0", late, Outcome(409, "data-subject-erased"))
    writer.history.append(Keys(writer.moment(), []))
    writer.at += LONG
    writer.page(0, 4)
    writer.export("auditor")
    return writer.history


def publish_about_a_customer(writer: Writer) -> None:
    sent = [Sent("named", "CustomerNamed", (CUSTOMER,), "content of named"), sent_of("other")]
    positions = writer.write(sent)
    writer.log[NAMED] = msgspec.structs.replace(writer.log[NAMED], data_subject=CUSTOMER)
    outcome = Outcome(201, positions=positions, published_at=writer.log[-1].published_at)
    writer.call("eraser-0", Publish(sent), outcome)


def tell(writer: Writer, type: str, about: str) -> None:
    writer.write([Sent(f"{type} of {about}", type, (about,), "told")])


def go(writer: Writer, index: int, how: str) -> None:
    """Let the payload of a stored fact go."""
    fact = writer.log[index]
    writer.log[index] = msgspec.structs.replace(fact, content="null", spelling=f"rest of {fact.id}", gone=how)


def test_a_good_erasure_is_accepted() -> None:
    assert check(erasure_history()) == []


def test_facts_that_nobody_saw_before_they_were_erased_are_accepted() -> None:
    history = erasure_history()
    del history[reading(history, "reader")]
    assert check(history) == []


def stored_as_before(history: History, index: int) -> Callable[[list[Seen]], list[Seen]]:
    before = facts_of(history, reading(history, "reader"))[index]
    return lambda facts: [*facts[:index], before, *facts[index + 1 :]]


def stored_otherwise(history: History, index: int, **members: object) -> None:
    def edit(facts: list[Seen]) -> list[Seen]:
        facts[index] = msgspec.structs.replace(facts[index], **members)
        return facts

    stored(history, edit)


def keep_a_payload(history: History) -> None:
    stored(history, stored_as_before(history, NAMED))


def keep_a_redacted_payload(history: History) -> None:
    stored(history, stored_as_before(history, OTHER))


def show_a_payload_again(history: History) -> None:
    index = reading(history, "reader", 1)
    change_outcome(history, index, facts=stored_as_before(history, NAMED)(facts_of(history, index)))


def keep_a_key(history: History) -> None:
    index = next(place for place, entry in enumerate(history) if isinstance(entry, Keys))
    change(history, index, data_subjects=[CUSTOMER])


def erase_without_a_request(history: History) -> None:
    history[:] = [entry for entry in history if not (isinstance(entry, Call) and isinstance(entry.request, Erase))]


def redact_without_a_request(history: History) -> None:
    history[:] = [entry for entry in history if not (isinstance(entry, Call) and isinstance(entry.request, Redact))]


def tell_twice(history: History) -> None:
    stored(history, lambda facts: [*facts, msgspec.structs.replace(facts[ERASED], position=5, id="again")])


def answer_another_time(history: History) -> None:
    index = next(i for i, e in enumerate(history) if isinstance(e, Call) and isinstance(e.request, Redact))
    change_outcome(history, index, published_at="2027")


def tell_nothing(history: History) -> None:
    stored_otherwise(history, ERASED, aggregate_ids=("customer-2",))


def tell_what_is_not_done(history: History) -> None:
    """Both requests were in doubt, so that the payload may still be there, but then nothing may tell that it is not."""
    for index, entry in enumerate(history):
        if isinstance(entry, Call) and isinstance(entry.request, Erase):
            change(history, index, outcome=Outcome(503, "outcome-unknown"))
    stored(history, stored_as_before(history, NAMED))


def publish_about_an_erased_customer(history: History) -> None:
    late = Seen(5, "late", "CustomerNamed", (CUSTOMER,), "null", "line", "2027", CUSTOMER, "erased")
    stored(history, lambda facts: [*facts, late])


def spell_what_is_left_in_two_ways(history: History) -> None:
    stored_otherwise(history, NAMED, spelling="another")


def change_what_is_left(history: History) -> None:
    stored_otherwise(history, NAMED, aggregate_ids=("customer-2",))


def refuse_to_publish_about_somebody_else(history: History) -> None:
    about = [Sent("late", "CustomerNamed", ("customer-2",), "content of late")]
    change(history, published(history, "late"), request=Publish(about))


def know_nobody(history: History) -> None:
    index = next(i for i, e in enumerate(history) if isinstance(e, Call) and isinstance(e.request, Erase))
    change_outcome(history, index, status=404, problem="data-subject-not-found")


MUTATIONS: dict[Mutation, str] = {
    keep_a_payload: "erased stays gone",
    keep_a_redacted_payload: "erased stays gone",
    show_a_payload_again: "erased stays gone",
    keep_a_key: "erased keys are gone",
    erase_without_a_request: "only what was asked for is gone",
    redact_without_a_request: "only what was asked for is gone",
    tell_twice: "erasures are told once",
    answer_another_time: "erasures are told once",
    tell_nothing: "what is told is gone",
    tell_what_is_not_done: "what is told is gone",
    publish_about_an_erased_customer: "what is told is gone",
    spell_what_is_left_in_two_ways: "gone facts agree",
    change_what_is_left: "readers agree",
    refuse_to_publish_about_somebody_else: "answers are expected",
    know_nobody: "answers are expected",
}


@pytest.mark.parametrize(("mutate", "rule"), MUTATIONS.items(), ids=lambda it: getattr(it, "__name__", ""))
def test_a_bad_erasure_is_caught(mutate: Mutation, rule: str) -> None:
    history = erasure_history()
    mutate(history)
    assert rule in {violation.rule for violation in check(history)}


def undone_history(*, acknowledged: bool, asynchronous: bool = False) -> History:
    """A fail-over loses an erasure, and with it the fact that told of it: the payload is back."""
    writer = Writer()
    publish_about_a_customer(writer)
    writer.page(0, 2)
    before = writer.log[NAMED]
    tell(writer, "DataSubjectErased", CUSTOMER)
    go(writer, NAMED, "erased")
    done = Outcome(200, published_at=writer.log[ERASED].published_at)
    writer.call("eraser-0", Erase(CUSTOMER), done if acknowledged else Outcome(503, "outcome-unknown"))
    writer.page(0, 3)
    del writer.log[ERASED]
    writer.log[NAMED] = before
    writer.history.append(Loss(writer.moment(), 2, asynchronous))
    writer.at += LONG
    writer.page(0, 2)
    writer.export("auditor")
    return writer.history


def test_an_erasure_in_doubt_may_be_undone_by_a_fail_over() -> None:
    assert check(undone_history(acknowledged=False)) == []


def test_an_acknowledged_erasure_may_be_undone_only_by_an_asynchronous_fail_over() -> None:
    assert check(undone_history(acknowledged=True, asynchronous=True)) == []
    assert "erased stays gone" in {violation.rule for violation in check(undone_history(acknowledged=True))}
