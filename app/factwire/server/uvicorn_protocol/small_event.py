"""Event with a list in place of the queue of asyncio.Event, which takes 600 bytes although one task waits at most."""

import asyncio
from typing import Any


class SmallEvent(asyncio.Event):
    """asyncio.Event for few waiting tasks. An idle stream has two."""

    _waiters: Any

    def __init__(self) -> None:
        super().__init__()
        self._waiters = []
