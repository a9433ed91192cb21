"""Which of the granted facts go into one answer."""

import pytest

from factwire.domain.position import Position
from factwire.subscriptions.candidates import first_bodies


@pytest.mark.parametrize(
    ("lengths", "count"),
    [([5, 5], 2), ([5, 6], 1), ([20], 1), ([20, 1], 1), ([1, 20, 1], 1), ([], 0)],
)
def test_they_are_as_many_as_fit_and_at_least_one(lengths: list[int], count: int) -> None:
    bodies = {Position(place): b"x" * length for place, length in enumerate(lengths)}
    assert list(first_bodies(list(bodies), bodies, bytes_max=10)) == list(bodies)[:count]


def test_they_end_before_the_first_that_was_not_read() -> None:
    bodies = {Position(1): b"x", Position(3): b"x"}
    assert list(first_bodies([Position(1), Position(2), Position(3)], bodies, bytes_max=10)) == [1]
