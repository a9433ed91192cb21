"""A client that follows as EventSource does, and tells afterwards what it got."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.e2e.wire import RawStream, streaming


@dataclass(frozen=True, slots=True)
class End:
    """The end of one connection."""

    at: float
    cleanly: bool


@dataclass
class Follower:
    """Comes back after each end with its last id. As in a browser, any answer but 200 is fatal to it."""

    url: str
    parameters: str = ""
    positions: list[int] = field(default_factory=list)
    opened: list[float] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    cursor: str = ""
    retry_seconds: float = 1.0

    async def follow(self) -> None:
        while True:
            cleanly = False
            try:
                async with streaming(self.url, self.parameters, cursor=self.cursor) as stream:
                    self.opened.append(time.monotonic())
                    await self._take(stream)
                    cleanly = stream.ended_cleanly
            except (OSError, asyncio.IncompleteReadError):
                pass  # EventSource comes back after a lost connection as well
            self.ends.append(End(time.monotonic(), cleanly))
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
