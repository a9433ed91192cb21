"""A turnstile: many who come at once go on a few at a time, and whatever else there is to do comes in between."""

import asyncio
from collections import deque


class Admission:
    """Lets a number of callers through in each pass of the event loop.

    Without it, what two thousand streams do when they come back together is one pass, and a publish waits for all of
    it several times over.
    """

    def __init__(self, *, at_once: int) -> None:
        self._at_once = at_once
        self._left = at_once
        self._turning = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait_turn(self) -> None:
        """Go on in this pass of the loop, or in a later one, in the order of arrival."""
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
            if not place.done():  # or whoever waited is gone
                place.set_result(None)
                self._left -= 1
        self._turning = self._left < self._at_once
        if self._turning:
            asyncio.get_running_loop().call_soon(self._turn)
