"""Large bodies are decoded by turns."""

import asyncio
import time
from itertools import pairwise

from factwire.api.http.decoding_turns import DecodingTurns

WORK_SECONDS = 0.02


async def test_the_turns_of_tenants_alternate_and_those_of_one_keep_their_order() -> None:
    turns, taken = DecodingTurns(), list[str]()

    async def take(tenant: str, name: str) -> None:
        await turns.take(tenant)
        taken.append(name)

    async with asyncio.TaskGroup() as group:
        for name in ("a1", "a2", "a3", "b1", "b2"):
            group.create_task(take(name[0], name))
    assert taken == ["a1", "a2", "b1", "a3", "b2"]


async def test_between_two_turns_others_have_at_least_as_much_time() -> None:
    turns, passes = DecodingTurns(), list[float]()

    async def work() -> tuple[float, float]:
        await turns.take("tenant")
        began_at = time.perf_counter()
        time.sleep(WORK_SECONDS)  # noqa: ASYNC251  # as decoding does
        return began_at, time.perf_counter()

    async def others() -> None:
        while True:
            passes.append(time.perf_counter())
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    spans = sorted(await asyncio.gather(*[work() for _ in range(4)]))
    other.cancel()
    for (_, ended_at), (begins_at, _) in pairwise(spans):
        assert begins_at - ended_at >= WORK_SECONDS
        assert any(ended_at < at < begins_at for at in passes)


async def test_who_left_while_waiting_takes_no_turn() -> None:
    turns = DecodingTurns()
    waiting = [asyncio.create_task(turns.take("tenant")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.wait_for(waiting[2], 5)
    assert waiting[1].cancelled()
