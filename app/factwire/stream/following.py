"""Following: history, then live, for one stream."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from heapq import nsmallest
from time import time

from factwire.domain.errors import (
    FactwireError,
    HistoryForked,
    InternalError,
    KeyUnavailable,
    LogDamaged,
    Unauthenticated,
    Unavailable,
)
from factwire.domain.position import Cursor, Position
from factwire.domain.principal import ANY_READER, Reader
from factwire.domain.query import Query
from factwire.store.database import Database
from factwire.store.reading import Form, Page, PageBounds, read_page
from factwire.store.turns import Turns, share_of
from factwire.stream.history_room import HistoryRooms, Room
from factwire.stream.lanes import Lanes
from factwire.stream.live import Link
from factwire.stream.pace import Failed, Happening, Moved, Pace
from factwire.stream.paging import Ahead
from factwire.stream.ring import Batch
from factwire.stream.tail import Tail
from factwire.stream.turnstile import Turnstile
from factwire.telemetry.metrics import Metrics

HISTORY_WAIT_SECONDS = 30.0
REASONS = (
    "age",
    "client",
    "drain",
    "epoch",
    "slow",
    HistoryForked.code,
    Unauthenticated.code,
    Unavailable.code,
    KeyUnavailable.code,
    LogDamaged.code,
    InternalError.code,
)
STARTS_AT_ONCE = 16
BATCHES_AT_ONCE = 4  # each is up to a millisecond of work
CHECK_SECONDS = 1.0
CHECKS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, eq=False)
class OpenStream:
    """A stream that is open: what it asked for, how far it is, and since when."""

    following: "Following"
    pace: Pace
    opened_at: float


@dataclass(frozen=True, slots=True)
class Following:
    """What one stream asked for."""

    query: Query
    after: Cursor
    head: Position
    typed: bool
    heartbeat_seconds: float
    reader: Reader = ANY_READER
    tenant: str = ""


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
        metrics: Metrics | None = None,
        more_to_come: Callable[[], bool] = lambda: False,
        on_passed: Callable[[Position, int], None] | None = None,
    ) -> None:
        self._database = database
        self.tail = tail
        self._streams_max = streams_max
        self._history = Turns(
            history_reads_max,
            share=share_of(history_reads_max),
            wait_seconds=HISTORY_WAIT_SECONDS,
            refusal="Too many streams are reading history.",
        )
        self._rooms = HistoryRooms(history_bytes_max)
        self._age_seconds_max = age_seconds_max
        self._drain_seconds = drain_seconds
        self._lanes = Lanes(tail, more_to_come=more_to_come, on_passed=on_passed)
        self._metrics = metrics or Metrics()
        self._checked: dict[Link, Reader] = {}
        self._open: set[OpenStream] = set()
        self.turnstile = Turnstile(at_once=STARTS_AT_ONCE)
        self._behind = Turnstile(at_once=BATCHES_AT_ONCE)
        self.draining = False

    @property
    def states(self) -> dict[tuple[str, ...], float]:
        """How many streams read history, or have something else to do by themselves, and how many are pushed to."""
        live = self._lanes.streams
        return {("catching-up",): self.open - live, ("live",): live}

    @property
    def open(self) -> int:
        """How many streams are open."""
        return len(self._open)

    def furthest_behind(self, count: int) -> list[OpenStream]:
        """The open streams that are furthest behind the head."""
        return nsmallest(count, self._open, key=lambda stream: stream.pace.cursor)

    def admits(self) -> bool:
        """Whether one more stream may be opened now."""
        return not self.draining and self.open < self._streams_max

    def drain(self) -> None:
        """Let the streams end, one after the other."""
        self.draining = self.tail.draining = True
        self._lanes.drain()
        self.tail.wake()

    async def run(self) -> None:
        """Push new facts to the streams until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._lanes.run())
            group.create_task(self._check_readers())

    async def _check_readers(self) -> None:
        """Wake the streams whose readers may not go on, so that they see to it themselves."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            for place, (link, reader) in enumerate(list(self._checked.items())):
                try:
                    reader.check()
                except FactwireError:
                    link.wake()
                if place % CHECKS_AT_ONCE == 0:
                    await asyncio.sleep(0)

    async def follow(self, following: Following, link: Link | None = None) -> AsyncGenerator[Happening]:
        """Yield what happens from a cursor on, until the stream has to end.

        At the head, facts are pushed through the link, if there is one, while the next item is waited for. The stream
        ends at its greatest age, while draining, when the epoch changes, when the link is left, and after Failed. It
        holds no connection while it waits or while its client reads.
        """
        stream = OpenStream(following, self._new_pace(following), time())
        self._open.add(stream)
        if link is not None and following.reader is not ANY_READER:
            self._checked[link] = following.reader
        reason = "slow"  # the only end of which this generator is not told: it is closed
        try:
            async with aclosing(self._follow(following, stream.pace, link)) as happenings:
                async for happening in happenings:
                    yield happening
            reason = self._reason(following)
        except FactwireError as error:
            reason = error.code
            yield Failed(error)
        finally:
            self._open.discard(stream)
            if link is not None:
                self._checked.pop(link, None)
            self._metrics.stream_ended("client" if link and link.left else reason)

    def _reason(self, following: Following) -> str:
        """Why a stream ended cleanly."""
        if self.tail.epoch != following.after.epoch:
            return "epoch"
        return "drain" if self.draining else "age"

    def _new_pace(self, following: Following) -> Pace:
        age_seconds = self._age_seconds_max * random.uniform(0.8, 1.2)
        return Pace(
            following.after,
            head=following.head,
            heartbeat_seconds=following.heartbeat_seconds,
            ends_at=asyncio.get_running_loop().time() + age_seconds,
        )

    async def _follow(self, following: Following, pace: Pace, link: Link | None) -> AsyncGenerator[Happening]:
        clock = asyncio.get_running_loop().time
        tail, epoch = self.tail, following.after.epoch
        room = Room(self._rooms, following.tenant)
        reading = Ahead(lambda cursor: self._read_history(following, cursor, room.page_bytes), tail)
        async with aclosing(reading) as history, room:
            while clock() < pace.ends_at and tail.epoch == epoch and not (link and link.left):
                self._check(following, pace)

                # Looking and waiting are one step: between take() and the wait nothing else is awaited, so that no fact
                # can arrive unnoticed in between. A stream that looked, awaited anything else and then waited would
                # sleep through a fact that came in the meantime, until the next one.
                found = await self._look(following, pace.cursor, history, room)
                if found is not None and found.epoch != epoch:
                    return
                happenings = pace.advance(found, tail.head, clock())
                for happening in happenings:
                    yield happening
                await self._pause(following, pace, link, moved=bool(happenings))
                if clock() >= pace.quiet_at:
                    yield pace.sign_of_life(clock())
        if pace.told < pace.tellable and tail.epoch == epoch:
            yield Moved(Cursor(epoch, pace.tellable))

    def _check(self, following: Following, pace: Pace) -> None:
        """Raises FactwireError where the stream must not go on."""
        if pace.cursor < self.tail.head:
            self.tail.refuse_fork()
        else:
            self.tail.refuse_to_follow()
        following.reader.check()
        if self.draining:
            pace.end_within(asyncio.get_running_loop().time(), self._drain_seconds)

    async def _pause(self, following: Following, pace: Pace, link: Link | None, *, moved: bool) -> None:
        """Wait for more at the head; before it, let others have their turn: a batch was work, even an empty one."""
        if pace.cursor < self.tail.head:
            await self._behind.go()
        elif not moved:
            await self._wait(following, pace, link)

    async def _wait(self, following: Following, pace: Pace, link: Link | None) -> None:
        if self.tail.epoch != pace.epoch or self.tail.fork is not None:
            return
        # Being pushed to is for streams that have nothing else to tell, and `caught-up` is told here.
        if link is None or not pace.caught_up or pace.cursor > self.tail.head:
            await self.tail.wait(min(pace.quiet_at, pace.ends_at))
        elif not link.left:
            await self._lanes.wait(following.query, following.typed, link, pace, tenant=following.tenant)

    async def _look(self, following: Following, cursor: Position, history: Ahead, room: Room) -> Batch | Page | None:
        """What follows a cursor, from the ring or from history; None where the tail is not as far as a page was."""
        ring = self.tail.ring
        if ring.covers(cursor):
            room.give_back()
            return ring.take(following.query, cursor, typed=following.typed)
        if cursor > ring.after:
            return None
        await room.take(seconds=HISTORY_WAIT_SECONDS)
        return await history.take(cursor, goes_on=lambda page: page.through < ring.after)

    async def _read_history(self, following: Following, cursor: Position, page_bytes: int) -> Page:
        """Read one page. Few streams at a time may."""
        bounds = PageBounds(bytes_max=page_bytes)
        async with (
            self._history.turn(following.tenant),
            self._database.reading.reading(following.tenant) as connection,
        ):
            self._metrics.page_read()
            return await read_page(
                connection,
                following.query,
                after=cursor,
                form=Form.TYPED_EVENTS if following.typed else Form.EVENTS,
                bounds=bounds,
                master_keys=self._database.master_keys,
            )
