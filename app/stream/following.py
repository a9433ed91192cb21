"""Following: history, then live, for one stream."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from app.domain.errors import FactwireError, Unavailable
from app.domain.position import Cursor, Position
from app.domain.query import Query
from app.store.database import Database
from app.store.reading import Form, Page, PageBounds, read_page
from app.stream.ring import Batch
from app.stream.tail import Tail

MOVE_POSITIONS = 1000
PAGE_BYTES_MIN = 64 * 1024
PAGE_BYTES_MAX = 1024 * 1024
HISTORY_WAIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Facts:
    """Matching facts as ready events, and the cursor of the last one."""

    body: bytes
    count: int
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """History ends here; what follows is live."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Moved:
    """The cursor moved although nothing matched."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Quiet:
    """Nothing happened for as long as a heartbeat takes."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The stream ends because of an error."""

    error: FactwireError


Happening = Facts | CaughtUp | Moved | Quiet | Failed


@dataclass(frozen=True, slots=True)
class Following:
    """What one stream asked for."""

    query: Query
    after: Cursor
    head: Position
    typed: bool
    heartbeat_seconds: float


class Pace:
    """How far one stream is, what its client knows of that, and when it is time for what."""

    def __init__(self, following: Following, ends_at: float) -> None:
        self._epoch = following.after.epoch
        self._heartbeat_seconds = following.heartbeat_seconds
        self._draining = False
        self.cursor = self.told = following.after.position
        self._caught_up = False
        self._first_head = following.head
        self.ends_at = ends_at
        self.quiet_at = asyncio.get_running_loop().time() + following.heartbeat_seconds

    def advance(self, found: Batch | Page | None, head: Position, now: float) -> list[Happening]:
        """Go as far as was looked, and say what the client gets to know of that."""
        happenings: list[Happening] = []
        if found is not None:
            self.cursor = found.through
            if found.last is not None:
                happenings.append(Facts(found.body, found.facts, self._tell(found.last, now)))
        at_head = self.cursor >= max(found.head if isinstance(found, Page) else head, self._first_head)
        if at_head and not self._caught_up:
            self._caught_up = True
            happenings.append(CaughtUp(self._tell(self.cursor, now)))
        elif self.cursor - self.told >= MOVE_POSITIONS:
            happenings.append(Moved(self._tell(self.cursor, now)))
        return happenings

    def sign_of_life(self, now: float) -> Happening:
        """What a client hears that has heard nothing for a heartbeat."""
        moved = self.told != self.cursor
        cursor = self._tell(self.cursor, now)
        return Moved(cursor) if moved else Quiet()

    def end_within(self, now: float, seconds: float) -> None:
        """Let the stream end soon, at a moment of its own, so that not all clients come back at once."""
        if not self._draining:
            self._draining = True
            self.ends_at = min(self.ends_at, now + seconds * random.uniform(0, 0.8))

    def _tell(self, position: Position, now: float) -> Cursor:
        """Note that the client gets this cursor; the next sign of life is due a heartbeat later."""
        self.told = position
        self.quiet_at = now + self._heartbeat_seconds
        return Cursor(self._epoch, position)


class Streams:
    """The open streams of a process, and what they share: the tail, and the right to read history."""

    def __init__(
        self,
        database: Database,
        tail: Tail,
        *,
        streams_max: int,
        history_reads_max: int,
        history_bytes_max: int,
        age_seconds_max: float,
        drain_seconds: float,
    ) -> None:
        self._database = database
        self.tail = tail
        self._streams_max = streams_max
        self._history = asyncio.Semaphore(history_reads_max)
        self._history_bytes_max = history_bytes_max
        self._age_seconds_max = age_seconds_max
        self._drain_seconds = drain_seconds
        self.open = 0
        self.draining = False

    def admits(self) -> bool:
        """Whether one more stream may be opened now."""
        return not self.draining and self.open < self._streams_max

    def drain(self) -> None:
        """Let the streams end, one after the other."""
        self.draining = True
        self.tail.wake()

    async def follow(self, following: Following) -> AsyncGenerator[Happening]:
        """Yield what happens from a cursor on, until the stream has to end.

        The stream ends at its greatest age, while draining, when the epoch changes, and after Failed. It holds no
        connection while it waits or while its client reads.
        """
        self.open += 1
        try:
            async with aclosing(self._follow(following)) as happenings:
                async for happening in happenings:
                    yield happening
        except FactwireError as error:
            yield Failed(error)
        finally:
            self.open -= 1

    async def _follow(self, following: Following) -> AsyncGenerator[Happening]:
        clock = asyncio.get_running_loop().time
        tail, epoch = self.tail, following.after.epoch
        pace = Pace(following, clock() + self._age_seconds_max * random.uniform(0.8, 1.2))
        while clock() < pace.ends_at and tail.epoch == epoch:
            tail.refuse_fork()
            if self.draining:
                pace.end_within(clock(), self._drain_seconds)

            # Looking and waiting are one step: between take() and wait() nothing else is awaited, so that no fact can
            # arrive unnoticed in between. A stream that looked, awaited anything else and then waited would sleep
            # through a fact that came in the meantime, until the next one.
            found = await self._look(following, pace.cursor)
            if found is not None and found.epoch != epoch:
                return
            happenings = pace.advance(found, tail.head, clock())
            for happening in happenings:
                yield happening
            if not happenings and pace.cursor >= tail.head:
                await tail.wait(min(pace.quiet_at, pace.ends_at))
            if clock() >= pace.quiet_at:
                yield pace.sign_of_life(clock())
        if pace.told != pace.cursor and tail.epoch == epoch:
            yield Moved(Cursor(epoch, pace.cursor))

    async def _look(self, following: Following, cursor: Position) -> Batch | Page | None:
        """What follows a cursor, from the ring or from history; None where the tail is not as far as a page was."""
        ring = self.tail.ring
        if ring.covers(cursor):
            return ring.take(following.query, cursor, typed=following.typed)
        return await self._read_history(following, cursor) if cursor < ring.after else None

    async def _read_history(self, following: Following, cursor: Position) -> Page:
        """Read one page. Few streams at a time may, and what all of them hold in memory is bounded."""
        share = self._history_bytes_max // max(1, self.open)
        bounds = PageBounds(bytes_max=min(PAGE_BYTES_MAX, max(PAGE_BYTES_MIN, share)))
        try:
            await asyncio.wait_for(self._history.acquire(), HISTORY_WAIT_SECONDS)
        except TimeoutError:
            raise Unavailable("Too many streams are reading history.") from None
        try:
            async with self._database.reading.reading() as connection:
                return await read_page(
                    connection,
                    following.query,
                    after=cursor,
                    form=Form.TYPED_EVENTS if following.typed else Form.EVENTS,
                    bounds=bounds,
                )
        finally:
            self._history.release()
