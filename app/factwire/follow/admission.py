"""Admission control on the event loop: of many callers that arrive at once, a bounded number runs in each pass."""

import asyncio
from collections import deque


class Admission:
    """Admits a bounded number of callers in each pass of the event loop, so that other tasks run in between.

    Without it, the work of two thousand streams that reconnect at once is a single pass, and a publish waits for all
    of it several times.
    """

    def __init__(self, *, at_once: int) -> None:
        self._at_once = at_once
        self._left = at_once
        self._turning = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait_turn(self) -> None:
        """Return in this pass of the event loop or in a later one, in the order of arrival."""
        loop = asyncio.get_running_loop()
        if not self._turning:
            self._turning = True
            loop.call_soon(self._turn)
        if self._left > 0 and not self._waiting:
            self._left -= 1
            return
        place = loop.create_future()
        self._waiting.append(place)
        await place

    def _turn(self) -> None:
        self._left = self._at_once
        while self._waiting and self._left > 0:
            place = self._waiting.popleft()
            if not place.done():  # else the waiting caller is gone
                place.set_result(None)
                self._left -= 1
        self._turning = self._left < self._at_once
        if self._turning:
            asyncio.get_running_loop().call_soon(self._turn)
