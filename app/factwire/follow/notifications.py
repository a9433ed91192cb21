"""LISTEN/NOTIFY hints between processes: one sender and one listener each; a lost listening connection is replaced."""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from secrets import token_hex

from factwire.domain.errors import Unavailable
from factwire.store.notifications import listen, notify
from factwire.store.pools import CONNECTION_FAILURES, Pools

log = logging.getLogger(__name__)

PROBE_SECONDS = 10.0
RECONNECT_SECONDS = 0.5
NOTIFY_SECONDS = 0.01


class Notifier:
    """Notifies the other processes of a publish: after the commit, immediately, then at a bounded rate.

    A NOTIFY in the appending transaction would be sent once for each append. Each one costs the server a lock that all
    its databases share, held during the commit, and wakes every listener. A hint that is lost because the process dies
    in between, or that is not sent because a process has only just begun to listen, is only a delay: the tails poll in
    any case.
    """

    def __init__(self, pools: Pools, heard: Callable[[], bool] = lambda: True) -> None:
        self._pools = pools
        self._heard = heard
        self._due = asyncio.Event()
        self.sender = token_hex(8)

    def hint(self) -> None:
        """Request a hint after a publish of this process. Nothing is sent if no other process would receive it."""
        if self._heard():
            self._due.set()

    async def run(self) -> None:
        """Send hints until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            with suppress(Unavailable, *CONNECTION_FAILURES):
                async with self._pools.watch.acquire() as connection:
                    await notify(connection, self.sender)
            await asyncio.sleep(NOTIFY_SECONDS)


class Listener:
    """Keeps one connection listening. A lost hint is only a delay: the tail polls in any case.

    Hints from `own_sender` are ignored: this process knows its own publishes.
    """

    def __init__(self, url: str, on_hint: Callable[[], None], *, own_sender: str = "") -> None:
        self._url = url
        self._on_hint = on_hint
        self._own_sender = own_sender
        self._backend: int | None = None
        self.connected = False

    def is_alone(self, listeners: frozenset[int] | None) -> bool:
        """True if certainly no other process listens, given the backends of all listeners (None if unknown)."""
        return listeners is not None and listeners <= {self._backend}

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await listen(self._url, self._hint, probe_seconds=PROBE_SECONDS, on_connected=self._connected)
            except CONNECTION_FAILURES as error:
                if self.connected:
                    log.warning("the connection for notifications was lost and is replaced: %s", type(error).__name__)
            self.connected = False
            await asyncio.sleep(RECONNECT_SECONDS * random.uniform(0.8, 1.6))

    def _connected(self, backend: int) -> None:
        self._backend = backend

    def _hint(self, sender: str) -> None:
        self.connected = True
        if not sender or sender != self._own_sender:
            self._on_hint()
