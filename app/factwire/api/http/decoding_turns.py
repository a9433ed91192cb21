"""Decoding takes turns: large bodies are decoded one at a time, and others have the process in between."""

import asyncio
from collections import deque
from time import perf_counter

LARGE_BYTES = 64 * 1024  # takes about half a millisecond
REST = 2.0  # times as long as a turn took


class DecodingTurns:
    """Lets one task go on at a time, by turns among tenants, and the next one once twice that time has passed.

    The largest legal body takes some 40 ms to decode, and nothing else happens meanwhile. Without turns, forty of them
    that arrive together would stop everybody else for as long as all of them take.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._resting = False

    async def take(self, tenant: str) -> None:
        """Go on when it is this tenant's turn, which lasts until the task waits for something else."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        if not self._resting:
            self._give()
        await turn

    def _give(self) -> None:
        self._resting = False
        while self._waiting and not self._resting:
            turn = self._next()
            if not turn.done():  # or whoever waited is gone
                turn.set_result(None)
                self._resting = True
                # It is called once the task has come to its next wait.
                asyncio.get_running_loop().call_soon(self._rest, perf_counter())

    def _rest(self, began_at: float) -> None:
        asyncio.get_running_loop().call_later(REST * (perf_counter() - began_at), self._give)

    def _next(self) -> "asyncio.Future[None]":
        """The first one of the tenant whose turn it is; its others wait behind those of all other tenants."""
        tenant, line = next(iter(self._waiting.items()))
        turn = line.popleft()
        del self._waiting[tenant]
        if line:
            self._waiting[tenant] = line
        return turn
