"""Match watch: wakes the desks of the subscriptions that a new fact matches, and no others."""

import asyncio
from collections.abc import Hashable
from typing import Protocol

from factwire.domain.position import Position
from factwire.domain.query import Query
from factwire.follow.query_index import QueryIndex
from factwire.follow.tail import Tail

LOOKS_MAX = 2000  # look-ups before other tasks run
WAIT_SECONDS = 60.0


class Waiting(Hashable, Protocol):
    """A wait for a match. `skipped_to` is called once, and ends it."""

    def skipped_to(self, position: Position) -> None:
        """There is no match before `position`, and perhaps one behind it."""
        ...


class MatchWatch:
    """Compares each new fact once with the queries of all that wait."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._index: QueryIndex[Waiting] = QueryIndex()
        self._queries: dict[Waiting, Query] = {}
        self._begun = asyncio.Event()
        self._through = Position(0)

    def add(self, waiting: Waiting, query: Query) -> None:
        """Watch for matches after the head of the tail, which the caller has reached without a pause since."""
        if not self._queries:
            self._through = self._tail.head
            self._begun.set()
        self._queries[waiting] = query
        self._index.add(waiting, query)

    def discard(self, waiting: Waiting) -> Position | None:
        """End a wait. Returns the position up to which there was no match; None if it has ended already."""
        query = self._queries.pop(waiting, None)
        if query is None:
            return None
        self._index.discard(waiting, query)
        return self._through

    def wake_all(self) -> None:
        """End all waits, as at a drain."""
        for waiting in list(self._queries):
            self._end(waiting, self._through)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self._begun.wait()
            self._begun.clear()
            while self._queries:
                if self._through == self._tail.head:
                    await self._tail.wait(asyncio.get_running_loop().time() + WAIT_SECONDS)
                await self._look()

    async def _look(self) -> None:
        """Compare the facts up to the head. If the ring has lost some of them, each of the waiting looks itself."""
        ring = self._tail.ring
        if not ring.covers(self._through) or self._tail.fork is not None:
            self.wake_all()
            self._through = ring.head
            return
        for found in self._index.find(ring.behind(self._through), after=self._through, looks_max=LOOKS_MAX):
            if found is None:
                await asyncio.sleep(0)
                continue
            for waiting, positions in found.positions.items():
                self._end(waiting, Position(positions[0] - 1))
            self._through = found.through

    def _end(self, waiting: Waiting, position: Position) -> None:
        query = self._queries.pop(waiting, None)
        if query is not None:
            self._index.discard(waiting, query)
            waiting.skipped_to(position)
