"""How the lines of an import are split into batches, whatever pieces they arrive in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factwire.api.import_facts import BATCH_LINES_MAX, ImportLines
from factwire.domain.budget import Budget
from factwire.domain.errors import LimitExceeded, Unavailable

BYTES_MAX = 100
LINES = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=30)


def new_lines(budget: Budget | None = None, *, bytes_max: int = BYTES_MAX) -> ImportLines:
    return ImportLines(budget or Budget(10_000_000, refusal="full"), "tenant", bytes_max=bytes_max)


@given(LINES, st.integers(1, 50), st.booleans())
def test_all_lines_come_in_order_and_in_bounded_batches(given_lines: list[bytes], size: int, pauses: bool) -> None:
    body = b"\n".join(given_lines)
    budget = Budget(10_000, refusal="full")
    lines = new_lines(budget)
    found: list[bytes] = []

    def take(*, only_full: bool) -> None:
        while batch := lines.take(only_full=only_full):
            assert len(batch) == 1 or sum(map(len, batch)) <= BYTES_MAX
            found.extend(batch)
            lines.give_back(batch)

    for start in range(0, len(body), size):
        lines.add(body[start : start + size])
        take(only_full=True)
        lines.check()
        if pauses:
            take(only_full=False)
    lines.end()
    take(only_full=False)
    assert found == (given_lines if body[-1:] not in (b"", b"\n") else given_lines[:-1])
    assert budget.used == 0


def test_a_batch_is_held_back_until_it_is_full() -> None:
    lines = new_lines(bytes_max=10_000)
    lines.add(b"a\n" * (BATCH_LINES_MAX - 1) + b"b")
    assert lines.take(only_full=True) == []
    lines.add(b"\nc")
    assert len(lines.take(only_full=True)) == BATCH_LINES_MAX
    assert lines.take(only_full=True) == []


def test_the_lines_before_one_that_is_too_long_are_taken_first() -> None:
    lines = new_lines()
    lines.add(b"a\nb\n" + b"x" * (BYTES_MAX + 1))
    assert lines.take(only_full=True) == [b"a", b"b"]
    assert lines.take(only_full=True) == []
    with pytest.raises(LimitExceeded):
        lines.check()


def test_what_has_arrived_is_counted_until_it_is_published_or_given_up() -> None:
    budget = Budget(100, refusal="full")
    lines = new_lines(budget)
    lines.add(b"a\n" * 20)
    assert budget.used == 40
    lines.give_back(lines.take(only_full=False))
    assert budget.used == 0
    lines.add(b"a" * 40)
    with pytest.raises(Unavailable):
        lines.add(b"a" * 40)
    lines.close()
    assert budget.used == 0
