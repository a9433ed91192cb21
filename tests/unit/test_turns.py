"""Turns: passes that share them take no more of the process together than one alone, and end what they began."""

import asyncio
from collections.abc import Generator

import pytest

from app.stream.live import in_turns

PASSES, STEPS = 20, 5


async def steps_within_a_round(turns: asyncio.Lock | None) -> int:
    """The most steps of all passes that ran between two turns of another task."""
    counted = [0]

    def one_pass() -> Generator[bool]:
        for _ in range(STEPS):
            counted[-1] += 1
            yield False

    passes = [asyncio.create_task(in_turns(one_pass(), turns)) for _ in range(PASSES)]
    while not all(each.done() for each in passes):
        await asyncio.sleep(0)
        counted.append(0)
    assert sum(counted) == PASSES * STEPS
    return max(counted)


async def test_of_passes_that_share_turns_one_goes_on_at_a_time() -> None:
    assert await steps_within_a_round(asyncio.Lock()) == 1
    assert await steps_within_a_round(None) == PASSES  # the measure tells the difference


async def test_a_pass_that_is_cancelled_is_closed_before_anything_else_happens_and_lets_others_go_on() -> None:
    turns, closed = asyncio.Lock(), False

    def endless() -> Generator[bool]:
        nonlocal closed
        try:
            while True:
                yield False
        finally:
            closed = True

    task = asyncio.create_task(in_turns(endless(), turns))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed
    async with asyncio.timeout(5), turns:
        pass
