"""Reads take turns: tenants by the time they had, each in the order of arrival, and none has all places."""

import asyncio
import random
from contextlib import suppress

import pytest

from factwire.domain.errors import Unavailable
from factwire.store import fair_semaphore
from factwire.store.fair_semaphore import FairSemaphore


class Clock:
    """Time passes by what is read alone, so that the load of the machine changes no order."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(fair_semaphore, "perf_counter", clock)
    return clock


class Readers:
    """Notes who is at it and in which order they came to their turns."""

    def __init__(self, turns: FairSemaphore, clock: Clock) -> None:
        self._turns = turns
        self._clock = clock
        self.began: list[str] = []
        self.running = 0
        self.most = 0

    async def read(self, tenant: str, *, passes: int) -> None:
        async with self._turns.turn(tenant):
            self.began.append(tenant)
            self.running += 1
            self.most = max(self.most, self.running)
            for _ in range(passes):
                await asyncio.sleep(0)
                self._clock.now += 0.001
            self.running -= 1


async def test_no_more_go_on_at_a_time_than_there_are_places(clock: Clock) -> None:
    readers = Readers(FairSemaphore(4, share=3, wait_seconds=5), clock)
    await asyncio.gather(*[readers.read(f"t{number}", passes=2) for number in range(20)])
    assert readers.most == 4
    assert sorted(readers.began) == sorted(f"t{number}" for number in range(20))


async def test_one_tenant_leaves_places_to_the_others(clock: Clock) -> None:
    turns = FairSemaphore(4, share=3, wait_seconds=5)
    readers = Readers(turns, clock)
    flood = [asyncio.create_task(readers.read("flood", passes=20)) for _ in range(20)]
    await asyncio.sleep(0)
    assert readers.running == 3
    await asyncio.wait_for(readers.read("other", passes=0), 1)
    assert readers.began[:4] == ["flood"] * 3 + ["other"]
    await asyncio.gather(*flood)


async def test_who_has_had_less_time_is_next(clock: Clock) -> None:
    readers = Readers(FairSemaphore(1, share=1, wait_seconds=5), clock)
    waiting = [
        *[asyncio.create_task(readers.read("slow", passes=20)) for _ in range(4)],
        *[asyncio.create_task(readers.read("quick", passes=1)) for _ in range(4)],
    ]
    await asyncio.gather(*waiting)
    assert readers.began[0] == "slow"
    assert readers.began[1:5] == ["quick"] * 4


async def test_a_pause_saves_nothing_up(clock: Clock) -> None:
    readers = Readers(FairSemaphore(1, share=1, wait_seconds=5), clock)
    busy = [asyncio.create_task(readers.read("busy", passes=5)) for _ in range(6)]
    while len(readers.began) < 3:
        await asyncio.sleep(0)
    late = [asyncio.create_task(readers.read("late", passes=5)) for _ in range(4)]
    await asyncio.gather(*busy, *late)
    first = readers.began.index("late")
    assert readers.began[first + 1] == "busy"


async def test_whoever_waits_too_long_is_refused_and_keeps_no_place() -> None:
    turns = FairSemaphore(1, share=1, wait_seconds=0.01)
    async with turns.turn("a"):
        with pytest.raises(Unavailable, match="Too many reads"):
            async with turns.turn("b"):
                pass
    async with turns.turn("b"):
        pass


async def test_who_comes_in_the_moment_in_which_others_of_his_leave_gets_his_turn(clock: Clock) -> None:
    """Two who waited are cancelled, and between the two a third of the same tenant comes: its line is a new one."""
    turns = FairSemaphore(1, share=1, wait_seconds=5)
    readers = Readers(turns, clock)
    async with turns.turn("b"):
        clock.now += 0.002  # it owes something from here on
    running = asyncio.create_task(readers.read("x", passes=3))
    await asyncio.sleep(0)
    leaving = [asyncio.create_task(readers.read("a", passes=1)) for _ in range(2)]
    other = asyncio.create_task(readers.read("b", passes=3))
    await asyncio.sleep(0)
    running.cancel()
    leaving[0].cancel()
    late = asyncio.create_task(readers.read("a", passes=1))
    leaving[1].cancel()
    await asyncio.gather(running, *leaving, return_exceptions=True)
    await asyncio.wait_for(asyncio.gather(other, late), 2)


async def test_no_turn_is_lost_whoever_leaves_when(clock: Clock) -> None:
    for seed in range(60):
        await leave_by_chance(random.Random(seed), clock)


async def leave_by_chance(chance: random.Random, clock: Clock) -> None:
    turns = FairSemaphore(2, share=1, wait_seconds=5)
    readers = Readers(turns, clock)
    tasks = []
    for _ in range(120):
        tasks.append(asyncio.create_task(readers.read(f"t{chance.randrange(4)}", passes=chance.randrange(2))))
        if chance.random() < 0.5:
            chance.choice(tasks).cancel()
        if chance.random() < 0.5:
            await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 4)
    assert not turns._lines


async def test_those_who_leave_while_they_wait_keep_no_place(clock: Clock) -> None:
    """Cancelled before their turn, in the very moment of it, and during it: afterwards all places are free."""
    turns = FairSemaphore(3, share=2, wait_seconds=5)
    readers = Readers(turns, clock)
    for seed in range(200):
        tasks = [asyncio.create_task(readers.read(f"t{number % 3}", passes=number % 2)) for number in range(9)]
        for _ in range(seed % 5):
            await asyncio.sleep(0)
        for number, task in enumerate(tasks):
            if (seed + number) % 2:
                task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
    readers.running = readers.most = 0
    await asyncio.gather(*[readers.read(f"t{number}", passes=1) for number in range(9)])
    assert readers.most == 3
    assert not turns._lines
