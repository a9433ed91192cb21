"""Waiting for a claim, with a deadline: tests wait for what has to happen, never for time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

DEADLINE_SECONDS = 20.0
POLL_SECONDS = 0.005


async def until(claim: Callable[[], Awaitable[Any]] | Callable[[], Any], *, seconds: float = DEADLINE_SECONDS) -> None:
    """Wait until a claim holds. Raises AssertionError if it does not in time."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                held = claim()
                if isinstance(held, Awaitable):
                    held = await held
                if held:
                    return
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"not within {seconds} s: {claim.__qualname__}") from None
