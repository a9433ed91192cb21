"""The checker finds each way in which an import can be broken."""

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
    facts_of,
    reading,
    sent_of,
    stored,
)
from tests.faults.history import Call, Import, Imported, Outcome, Publish, Read, Seen, Sent

FILE = [sent_of(f"i{line}") for line in range(1, 6)]
BAD = [sent_of("j1"), sent_of("j2"), Sent("j1", "OrderPlaced", ("order-1",), "other content"), sent_of("j4")]
REFUSED, CUT, COMPLETE = 0, 1, 2  # the attempts to import the file


def import_history() -> History:
    """A file is refused at its third line, then cut after that line was stored, then imported; another one is bad."""
    writer = Writer()
    writer.publish("publisher-0", "a")
    writer.write(FILE[:2])
    writer.call("importer-0", Import(FILE), Outcome(503, "unavailable", imported=Imported(2, 2, 0, 3, 3)))
    writer.page(0, 3)
    writer.write(FILE[2:3])
    writer.call("importer-0", Import(FILE), Outcome(0, "ReadError", imported=Imported(2, 0, 2, 3)))
    writer.write(FILE[3:])
    writer.call("importer-0", Import(FILE), Outcome(200, imported=Imported(5, 2, 3, 6)))
    writer.write(BAD[:2])
    writer.call("importer-1", Import(BAD), Outcome(409, "fact-id-conflict", imported=Imported(2, 2, 0, 8, 3)))
    writer.page(3, 8)
    writer.export("auditor")
    return writer.history


def test_a_good_import_is_accepted() -> None:
    assert check(import_history()) == []


def attempt(history: History, nth: int) -> int:
    return reading(history, "importer-0", nth)


def change_progress(history: History, index: int, **members: Any) -> None:
    call = history[index]
    assert isinstance(call, Call)
    assert call.outcome.imported
    change_outcome(history, index, imported=msgspec.structs.replace(call.outcome.imported, **members))


def swap_two_lines(history: History) -> None:
    def edit(facts: list[Seen]) -> list[Seen]:
        facts[4], facts[5] = (
            msgspec.structs.replace(facts[5], position=5),
            msgspec.structs.replace(facts[4], position=6),
        )
        return facts

    stored(history, edit)


def leave_a_line_out(history: History) -> None:
    stored(history, lambda facts: [fact for fact in facts if fact.id != "i3"])


def report_another_position(history: History) -> None:
    change_progress(history, attempt(history, REFUSED), position=2)


def report_a_line_that_is_not_stored(history: History) -> None:
    change_progress(history, reading(history, "importer-1"), lines=3, published=3)


def report_a_result_before_the_end(history: History) -> None:
    change_progress(history, attempt(history, COMPLETE), lines=4, published=1, position=5)


def report_counts_that_do_not_add_up(history: History) -> None:
    change_progress(history, attempt(history, COMPLETE), published=1)


def lose_a_line_of_a_cut_answer(history: History) -> None:
    change_progress(history, attempt(history, CUT), lines=3, position=9)


def store_after_a_failing_line(history: History) -> None:
    """The third line, at which the import had failed, was seen before anybody tried again."""
    index = reading(history, "reader")
    third = next(fact for fact in facts_of(history, len(history) - 1) if fact.id == "i3")
    change_outcome(history, index, through=4, head=4, facts=[*facts_of(history, index), third])


def know_a_line_that_nobody_stored(history: History) -> None:
    """Without the attempt that was cut, the last one can only find two lines."""
    del history[attempt(history, CUT)]


def store_after_a_bad_line(history: History) -> None:
    fourth = Seen(9, "j4", "OrderPlaced", ("order-1",), "content of j4", "line", "2027")
    stored(history, lambda facts: [*facts, fourth])


def publish_a_line_twice(history: History) -> None:
    change_progress(history, attempt(history, COMPLETE), published=4, replayed=1)


def name_another_line(history: History) -> None:
    change_progress(history, reading(history, "importer-1"), lines=1, published=1, position=7, failing_line=2)


def accept_a_bad_line(history: History) -> None:
    change_outcome(history, reading(history, "importer-1"), status=200, problem="")


def read_a_head_before_the_import(history: History) -> None:
    change_outcome(history, reading(history, "reader", 1), head=5)


def answer_an_import_with_an_internal_error(history: History) -> None:
    change_outcome(history, attempt(history, REFUSED), status=500, problem="internal-error")


def store_a_line_that_was_seen_before(history: History) -> None:
    """The fourth line is known before its import began."""
    fourth = next(fact for fact in facts_of(history, len(history) - 1) if fact.id == "i4")
    history.insert(0, Call("reader", 0.1, 0.2, Read(4, 1), Outcome(200, through=5, head=5, facts=[fourth])))


MUTATIONS: dict[Mutation, str] = {
    swap_two_lines: "files keep their order",
    leave_a_line_out: "files keep their order",
    report_another_position: "progress is stored",
    report_a_line_that_is_not_stored: "progress is stored",
    report_a_result_before_the_end: "progress is stored",
    report_counts_that_do_not_add_up: "progress is stored",
    lose_a_line_of_a_cut_answer: "progress is stored",
    store_after_a_failing_line: "failing lines end imports",
    know_a_line_that_nobody_stored: "failing lines end imports",
    store_after_a_bad_line: "failing lines end imports",
    publish_a_line_twice: "lines are published once",
    name_another_line: "bad lines are named",
    accept_a_bad_line: "bad lines are named",
    read_a_head_before_the_import: "reads are fresh",
    answer_an_import_with_an_internal_error: "answers are expected",
    store_a_line_that_was_seen_before: "order agrees with time",
}


@pytest.mark.parametrize(("mutate", "rule"), MUTATIONS.items(), ids=lambda it: getattr(it, "__name__", ""))
def test_a_bad_import_is_caught(mutate: Mutation, rule: str) -> None:
    history = import_history()
    mutate(history)
    assert rule in {violation.rule for violation in check(history)}


def test_an_import_whose_outcome_is_unknown_may_have_stored_its_next_lines() -> None:
    history = import_history()
    unknown = Outcome(503, "outcome-unknown", imported=Imported(2, 0, 2, 3, 3))
    change(history, attempt(history, CUT), outcome=unknown)
    assert check(history) == []


def test_what_a_publisher_sends_is_no_line() -> None:
    """A fact that nobody sent, in a file or alone, is still found."""
    history = import_history()
    history.insert(0, Call("publisher-1", 0.1, 0.2, Publish([sent_of("x")]), Outcome(503, "unavailable")))
    stranger = Seen(9, "stranger", "LineImported", ("order-1",), "content", "line", "2027")
    stored(history, lambda facts: [*facts, stranger])
    assert "stored was sent" in {violation.rule for violation in check(history)}
