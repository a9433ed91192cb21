"""Cursors and bounds: what is parsed, and what is not."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factwire.domain.position import EPOCH_MAX, POSITION_MAX, Cursor, Position, parse_bound, parse_cursor


@given(epoch=st.integers(1, EPOCH_MAX), position=st.integers(0, POSITION_MAX))
def test_a_cursor_comes_back_as_it_was_written(epoch: int, position: int) -> None:
    cursor = Cursor(epoch, Position(position))
    assert parse_cursor(str(cursor)) == cursor


def test_a_bare_position_is_of_the_current_epoch() -> None:
    assert parse_cursor("42") == Cursor(0, Position(42))


@pytest.mark.parametrize(
    "text",
    [
        *("", "-1", "+1", "1:", ":1", "0:1", "01", "1:01", "1:-1", "1:1:1", " 1", "1\n", "1.0", "1e3", "٤٢", "start:1"),
        *(str(POSITION_MAX + 1), f"{EPOCH_MAX + 1}:1", "9" * 5000),
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a cursor"):
        parse_cursor(text)
    with pytest.raises(ValueError, match="expected a cursor"):
        parse_bound(text)


@pytest.mark.parametrize("word", ["start", "head"])
def test_a_bound_may_be_one_of_two_words(word: str) -> None:
    assert parse_bound(word) == word


def test_a_bound_may_be_the_id_of_a_fact_in_either_case() -> None:
    id = UUID("0193595a-7c5f-7e1a-8f31-2f6a3c7d9b10")
    assert parse_bound(str(id)) == parse_bound(str(id).upper()) == id


@pytest.mark.parametrize("text", ["{0193595a-7c5f-7e1a-8f31-2f6a3c7d9b10}", "0193595a7c5f7e1a8f312f6a3c7d9b10", "HEAD"])
def test_other_spellings_of_bounds_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a cursor"):
        parse_bound(text)
