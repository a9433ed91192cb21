"""Letting attackers work in a process of their own, so that they slow down nobody but the service."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event

ATTACKERS_SECONDS = 60.0
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Signals:
    """Between a test and its attackers: that they have begun, that it is enough, and what came of it."""

    begun: Event
    stop: Event
    outcomes: "Queue[dict[str, int]]"


@asynccontextmanager
async def flooded(run: Callable[..., None], *args: object) -> AsyncIterator[dict[str, int]]:
    """Let attackers work for as long as the block lasts, which begins with them; what came of it is there after it.

    `run` gets the arguments and Signals.
    """
    context = get_context("spawn")
    signals = Signals(context.Event(), context.Event(), context.Queue())
    process = context.Process(target=run, args=(*args, signals), daemon=True)
    process.start()
    outcomes: dict[str, int] = {}
    try:
        async with asyncio.timeout(ATTACKERS_SECONDS):
            while not signals.begun.is_set():
                assert process.is_alive(), "the attackers failed"
                await asyncio.sleep(POLL_SECONDS)
        yield outcomes
        signals.stop.set()
        outcomes.update(await asyncio.to_thread(signals.outcomes.get, timeout=ATTACKERS_SECONDS))
    finally:
        signals.stop.set()
        await asyncio.to_thread(process.join, ATTACKERS_SECONDS)
        process.kill()
