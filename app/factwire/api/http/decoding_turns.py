"""Decoding turns: large bodies are decoded one at a time, and other tasks run in between."""

import asyncio
from collections import deque
from time import perf_counter

LARGE_BYTES = 64 * 1024  # decoding takes about half a millisecond
REST = 2.0  # pause after a turn, as a multiple of its duration


class DecodingTurns:
    """Round-robin scheduler over tenants: one task at a time, then a pause of twice the time that it took.

    The largest legal body takes some 40 ms to decode, and the process does nothing else meanwhile. Without turns, forty
    of them that arrive together would stop all other requests until all of them are decoded.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._resting = False

    async def take(self, tenant: str) -> None:
        """Wait for a turn of this tenant, which lasts until the task waits for something else."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        if not self._resting:
            self._give()
        await turn

    def _give(self) -> None:
        self._resting = False
        while self._waiting and not self._resting:
            turn = self._next()
            if not turn.done():  # a task that was cancelled meanwhile needs no turn
                turn.set_result(None)
                self._resting = True
                # The event loop calls this after the task has reached its next wait.
                asyncio.get_running_loop().call_soon(self._rest, perf_counter())

    def _rest(self, began_at: float) -> None:
        asyncio.get_running_loop().call_later(REST * (perf_counter() - began_at), self._give)

    def _next(self) -> "asyncio.Future[None]":
        """First waiting task of the next tenant; its other tasks then wait until all other tenants had a turn."""
        tenant, line = next(iter(self._waiting.items()))
        turn = line.popleft()
        del self._waiting[tenant]
        if line:
            self._waiting[tenant] = line
        return turn
