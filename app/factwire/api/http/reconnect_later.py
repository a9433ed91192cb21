"""Delayed reconnect: the response for streams that cannot be opened now, which asks their clients to come back."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial

from factwire.api.http.sse import StreamResponse
from factwire.follow.fanout import StreamLink
from factwire.follow.progress import Happening

SECONDS_TO_LEAVE = 10.0
HELD_MAX = 400  # half of the connections that exist besides those of streams


class ReconnectLater:
    """Responses that end a stream cleanly: EventSource reconnects after a clean end, and never after a 503.

    Some clients take a clean end for success and reconnect at once, regardless of `retry:`. So the response is held
    open for the time that it names, unless too many are held already or the process is about to stop.
    """

    def __init__(self, *, retry_seconds: float) -> None:
        self._retry_seconds = retry_seconds
        self._held: set[StreamLink] = set()
        self._released = False

    def later(self) -> StreamResponse:
        seconds = self._retry_seconds * random.uniform(1, 3)
        opening = b"retry: %d\n" % (seconds * 1000)
        follow = partial(self._hold, seconds)
        return StreamResponse(opening, follow, send_seconds=SECONDS_TO_LEAVE)

    def release(self) -> None:
        """End all held responses, and hold no further ones."""
        self._released = True
        for link in self._held:
            link.wake()

    async def _hold(self, seconds: float, link: StreamLink) -> AsyncGenerator[Happening]:
        """Yield nothing, and end when it is time to reconnect."""
        if len(self._held) < HELD_MAX and not self._released and not link.left:
            self._held.add(link)
            link.woken = asyncio.get_running_loop().create_future()
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await link.woken
            finally:
                link.woken = None
                self._held.discard(link)
        happenings: tuple[Happening, ...] = ()
        for happening in happenings:
            yield happening
