"""The listener of a process: turns notifications into hints, and is replaced when its connection dies."""

import asyncio
import logging
import random
from collections.abc import Callable

from app.store.database import CONNECTION_FAILURES
from app.store.listening import listen

log = logging.getLogger(__name__)

PROBE_SECONDS = 10.0
RECONNECT_SECONDS = 0.5


class Listener:
    """Keeps one connection listening. A lost hint is only a delay: the tail polls in any case."""

    def __init__(self, url: str, on_hint: Callable[[], None]) -> None:
        self._url = url
        self._on_hint = on_hint
        self.connected = False

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await listen(self._url, self._hint, probe_seconds=PROBE_SECONDS)
            except CONNECTION_FAILURES as error:
                if self.connected:
                    log.warning("the listening connection was lost and is made anew: %s", type(error).__name__)
            self.connected = False
            await asyncio.sleep(RECONNECT_SECONDS * random.uniform(0.8, 1.6))

    def _hint(self) -> None:
        self.connected = True
        self._on_hint()
