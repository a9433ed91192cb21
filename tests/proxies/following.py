"""A client that follows as EventSource does, and tells afterwards what it got."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.e2e.wire import RawStream, streaming


@dataclass(slots=True)
class Visit:
    """One connection: when it was asked for, whether anything came of it, and how it ended."""

    came_at: float
    followed: bool = False
    left_at: float = math.inf
    cleanly: bool = False


@dataclass
class Follower:
    """Comes back after each end with its last id. As in a browser, any answer but 200 is fatal to it."""

    url: str
    parameters: str = ""
    positions: list[int] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    cursor: str = ""
    retry_seconds: float = 1.0

    async def follow(self) -> None:
        while True:
            self.visits.append(Visit(time.monotonic()))
            with suppress(OSError, asyncio.IncompleteReadError):  # EventSource comes back after a lost connection, too
                async with streaming(self.url, self.parameters, cursor=self.cursor) as stream:
                    await self._take(stream)
                    self.visits[-1].cleanly = stream.ended_cleanly
            self.visits[-1].left_at = time.monotonic()
            await asyncio.sleep(self.retry_seconds)

    async def _take(self, stream: RawStream) -> None:
        goes_on = True
        while goes_on:
            goes_on = await stream.read_chunk()
            *events, stream.body = stream.body.split(b"\n\n")
            for event in events:
                self._dispatch(event)
        self._obey(stream.body)

    def _dispatch(self, event: bytes) -> None:
        self._obey(event)
        self.visits[-1].followed = True
        fields = dict(line.split(b": ", 1) for line in event.splitlines() if b": " in line)
        self.cursor = fields[b"id"].decode()
        if b"event" not in fields:
            self.positions.append(int(self.cursor.partition(":")[2]))

    def _obey(self, lines: bytes) -> None:
        """`retry:` holds from its own line on, in an event or not."""
        for line in lines.splitlines():
            if line.startswith(b"retry: "):
                self.retry_seconds = int(line[7:]) / 1000


@asynccontextmanager
async def followers(url: str, count: int, parameters: str = "") -> AsyncIterator[list[Follower]]:
    """Clients that follow meanwhile. What is fatal to one of them is fatal to the test."""
    started = [Follower(url, parameters) for _ in range(count)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follower.follow()) for follower in started]
        yield started
        for task in tasks:
            task.cancel()


async def all_have(following: Sequence[Follower], position: int) -> bool:
    return all(follower.positions[-1:] >= [position] for follower in following)
