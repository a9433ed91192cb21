"""The turnstile spreads what comes at once over passes of the event loop."""

import asyncio
from collections import Counter

from factwire.follow.admission import Admission


class Passes:
    """Counts the passes of the running loop."""

    def __init__(self) -> None:
        self.count = 0
        self._next = asyncio.get_running_loop().call_soon(self._pass)

    def _pass(self) -> None:
        self.count += 1
        self._next = asyncio.get_running_loop().call_soon(self._pass)

    def stop(self) -> None:
        self._next.cancel()


async def test_a_crowd_goes_through_a_few_in_each_pass_and_in_order() -> None:
    admission, passes = Admission(at_once=5), Passes()
    passed: list[tuple[int, int]] = []

    async def pass_through(number: int) -> None:
        await admission.wait_turn()
        passed.append((number, passes.count))

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for number in range(103):
            group.create_task(pass_through(number))
    passes.stop()
    assert [number for number, _ in passed] == list(range(103))
    assert max(Counter(count for _, count in passed).values()) == 5
    assert passed[-1][1] - passed[0][1] <= 21


async def test_whoever_comes_alone_does_not_wait() -> None:
    admission = Admission(at_once=2)
    for _ in range(3):
        passing = admission.wait_turn()
        try:
            passing.send(None)
        except StopIteration:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        else:
            raise AssertionError("it waits")


async def test_those_who_leave_take_no_place() -> None:
    admission = Admission(at_once=1)
    waiting = [asyncio.create_task(admission.wait_turn()) for _ in range(50)]
    await asyncio.sleep(0)
    for task in waiting[2:49]:
        task.cancel()
    passes = Passes()
    async with asyncio.timeout(10):
        await asyncio.wait(waiting)
    passes.stop()
    assert not waiting[49].cancelled()
    assert passes.count < 10
