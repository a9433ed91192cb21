"""Admission control for history reads: bounded memory for the pages of all streams, and a share for each tenant."""

import asyncio
from typing import Self

from factwire.domain.budget import Budget
from factwire.domain.errors import Unavailable

PAGE_BYTES = (1024 * 1024, 256 * 1024, 64 * 1024)
PAGES = 2  # one page is sent while the next one is read
REFUSAL = (
    "Too many streams are reading history: FACTWIRE_STREAM_HISTORY_BYTES_MAX bounds them, and half for each principal."
)


class HistoryMemory:
    """Page memory of all streams: large pages while there is room, small ones when there is little."""

    def __init__(self, bytes_max: int) -> None:
        self.budget = Budget(bytes_max, refusal=REFUSAL, least=PAGES * PAGE_BYTES[-1])
        self.freed = asyncio.Event()

    def wake(self) -> None:
        freed, self.freed = self.freed, asyncio.Event()
        freed.set()


class PageReservation:
    """Memory for the pages of one stream while it reads history; `page_bytes` is 0 if it holds no memory."""

    __slots__ = ("_rooms", "_tenant", "page_bytes")

    def __init__(self, rooms: HistoryMemory, tenant: str) -> None:
        self._rooms = rooms
        self._tenant = tenant
        self.page_bytes = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.give_back()

    async def take(self, *, seconds: float) -> None:
        """Wait for memory for at most `seconds`, unless it is held already. Raises Unavailable."""
        try:
            async with asyncio.timeout(seconds):
                while not (self.page_bytes or self._fit()):
                    await self._rooms.freed.wait()
        except TimeoutError:
            raise Unavailable(REFUSAL) from None

    def give_back(self) -> None:
        if self.page_bytes:
            self._rooms.budget.give_back(self._tenant, PAGES * self.page_bytes)
            self.page_bytes = 0
            self._rooms.wake()

    def _fit(self) -> bool:
        for page_bytes in PAGE_BYTES:
            if self._rooms.budget.fits(self._tenant, PAGES * page_bytes):
                self._rooms.budget.hold(self._tenant, PAGES * page_bytes)
                self.page_bytes = page_bytes
                return True
        return False
