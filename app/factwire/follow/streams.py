"""Open streams of a process: each one reads history, then follows live."""

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
from factwire.follow.admission import Admission
from factwire.follow.fanout import StreamLink
from factwire.follow.fanout_lanes import FanoutLanes
from factwire.follow.history_memory import HistoryMemory, PageReservation
from factwire.follow.pages import ReadAhead
from factwire.follow.progress import Happening, Moved, Progress
from factwire.follow.ring import FactBatch
from factwire.follow.tail import Tail
from factwire.store.fair_semaphore import FairSemaphore, share_of
from factwire.store.pools import Pools
from factwire.store.read import Form, HistoryPage, PageBounds, read_page
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
BATCHES_AT_ONCE = 4  # each takes up to a millisecond
CHECK_SECONDS = 1.0
CHECKS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, eq=False)
class OpenStream:
    """Open stream: its request, its progress, and its start time."""

    request: "StreamRequest"
    progress: Progress
    opened_at: float


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """Request of one stream."""

    query: Query
    after: Cursor
    head: Position
    typed: bool
    heartbeat_seconds: float
    reader: Reader = ANY_READER
    tenant: str = ""


class Streams:
    """Open streams of a process, and their shared resources: the tail, and the capacity to read history."""

    def __init__(
        self,
        pools: Pools,
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
        self._pools = pools
        self.tail = tail
        self._streams_max = streams_max
        self._history = FairSemaphore(
            history_reads_max,
            share=share_of(history_reads_max),
            wait_seconds=HISTORY_WAIT_SECONDS,
            refusal="Too many streams are reading history.",
        )
        self._history_memory = HistoryMemory(history_bytes_max)
        self._age_seconds_max = age_seconds_max
        self._drain_seconds = drain_seconds
        self._lanes = FanoutLanes(tail, more_to_come=more_to_come, on_passed=on_passed)
        self._metrics = metrics or Metrics()
        self._checked: dict[StreamLink, Reader] = {}
        self._open: set[OpenStream] = set()
        self.admission = Admission(at_once=STARTS_AT_ONCE)
        self._behind = Admission(at_once=BATCHES_AT_ONCE)

    @property
    def states(self) -> dict[tuple[str, ...], float]:
        """Number of streams that read history or do other work by themselves, and number of those pushed to."""
        live = self._lanes.streams
        return {("catching-up",): self.open - live, ("live",): live}

    @property
    def open(self) -> int:
        """Number of open streams."""
        return len(self._open)

    def furthest_behind(self, count: int) -> list[OpenStream]:
        """Return the open streams with the greatest distance to the head."""
        return nsmallest(count, self._open, key=lambda stream: stream.progress.cursor)

    def admits(self) -> bool:
        """True if one more stream may be opened now."""
        return not self.tail.drain.begun and self.open < self._streams_max

    def drain(self) -> None:
        """Let the streams end, each at a moment of its own."""
        self.tail.drain.begin()
        self._lanes.drain()
        self.tail.wake()

    async def run(self) -> None:
        """Push new facts to the streams until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._lanes.run())
            group.create_task(self._check_readers())

    async def _check_readers(self) -> None:
        """Wake each stream if its reader may not continue, so that the stream ends itself."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            for place, (link, reader) in enumerate(list(self._checked.items())):
                try:
                    reader.check()
                except FactwireError:
                    link.wake()
                if place % CHECKS_AT_ONCE == 0:
                    await asyncio.sleep(0)

    async def follow(self, request: StreamRequest, link: StreamLink | None = None) -> AsyncGenerator[Happening]:
        """Yield the items of a stream from a cursor on, until it has to end.

        At the head, facts are pushed through the link, if there is one, while the caller waits for the next item. The
        stream ends at its maximum age, during a drain, when the epoch changes, when the client leaves the link, and
        after Failed. It holds no connection while it waits or while its client reads.
        """
        stream = OpenStream(request, self._new_pace(request), time())
        self._open.add(stream)
        if link is not None and request.reader is not ANY_READER:
            self._checked[link] = request.reader
        reason = "slow"  # the only end that is not reported here: the generator is closed
        try:
            async with aclosing(self._follow(request, stream.progress, link)) as happenings:
                async for happening in happenings:
                    yield happening
            reason = self._reason(request)
        except FactwireError as error:
            reason = error.code
            yield stream.progress.failure(error)
        finally:
            self._open.discard(stream)
            if link is not None:
                self._checked.pop(link, None)
            self._metrics.stream_ended("client" if link and link.left else reason)

    def _reason(self, request: StreamRequest) -> str:
        """Return the reason for the clean end of a stream."""
        if self.tail.epoch != request.after.epoch:
            return "epoch"
        return "drain" if self.tail.drain.begun else "age"

    def _new_pace(self, request: StreamRequest) -> Progress:
        age_seconds = self._age_seconds_max * random.uniform(0.8, 1.2)
        return Progress(
            request.after,
            head=request.head,
            heartbeat_seconds=request.heartbeat_seconds,
            ends_at=asyncio.get_running_loop().time() + age_seconds,
        )

    async def _follow(
        self, request: StreamRequest, progress: Progress, link: StreamLink | None
    ) -> AsyncGenerator[Happening]:
        clock = asyncio.get_running_loop().time
        tail, epoch = self.tail, request.after.epoch
        reservation = PageReservation(self._history_memory, request.tenant)
        reading = ReadAhead(lambda cursor: self._read_history(request, cursor, reservation.page_bytes), tail)
        async with aclosing(reading) as history, reservation:
            while clock() < progress.ends_at and tail.epoch == epoch and not (link and link.left):
                self._check(request, progress)

                # Reading and waiting are one step: between take() and the wait nothing else is awaited, so that no fact
                # can arrive unnoticed in between. A stream that read, awaited anything else and then waited would miss
                # a fact that came in the meantime, and sleep until the next one.
                found = await self._look(request, progress.cursor, history, reservation)
                if found is not None and found.epoch != epoch:
                    return
                happenings = progress.advance(found, tail.head, clock())
                for happening in happenings:
                    yield happening
                await self._pause(request, progress, link, moved=bool(happenings))
                if clock() >= progress.heartbeat_at:
                    heartbeat = progress.next_heartbeat()
                    progress.mark_sent(heartbeat, clock())
                    yield heartbeat
        if progress.reported < progress.reportable and tail.epoch == epoch:
            yield Moved(Cursor(epoch, progress.reportable))

    def _check(self, request: StreamRequest, progress: Progress) -> None:
        """Raises FactwireError if the stream must not continue."""
        if progress.cursor < self.tail.head:
            self.tail.refuse_fork()
        else:
            self.tail.refuse_to_follow()
        request.reader.check()
        if self.tail.drain.begun:
            progress.end_within(asyncio.get_running_loop().time(), self._drain_seconds)

    async def _pause(self, request: StreamRequest, progress: Progress, link: StreamLink | None, *, moved: bool) -> None:
        """Wait for more at the head; before the head, let other streams run: even an empty batch was work."""
        if progress.cursor < self.tail.head:
            await self._behind.wait_turn()
        elif not moved:
            await self._wait(request, progress, link)

    async def _wait(self, request: StreamRequest, progress: Progress, link: StreamLink | None) -> None:
        if self.tail.epoch != progress.epoch or self.tail.fork is not None:
            return
        # Pushes are for streams that have nothing else to report, and `caught-up` is reported here.
        if link is None or not progress.caught_up or progress.cursor > self.tail.head:
            await self.tail.wait(min(progress.heartbeat_at, progress.ends_at))
        elif not link.left:
            await self._lanes.wait(request.query, request.typed, link, progress, tenant=request.tenant)

    async def _look(
        self, request: StreamRequest, cursor: Position, history: ReadAhead, reservation: PageReservation
    ) -> FactBatch | HistoryPage | None:
        """Return the facts after a cursor, from the ring or from history; None if a page was ahead of the tail."""
        ring = self.tail.ring
        if ring.covers(cursor):
            reservation.give_back()
            return ring.take(request.query, cursor, typed=request.typed)
        if cursor > ring.after:
            return None
        await reservation.take(seconds=HISTORY_WAIT_SECONDS)
        return await history.take(cursor, goes_on=lambda page: page.through < ring.after)

    async def _read_history(self, request: StreamRequest, cursor: Position, page_bytes: int) -> HistoryPage:
        """Read one page. Only a few streams may do so at a time."""
        bounds = PageBounds(bytes_max=page_bytes)
        async with (
            self._history.turn(request.tenant),
            self._pools.read(request.tenant, at_least=cursor) as connection,
        ):
            self._metrics.page_read()
            return await read_page(
                connection,
                request.query,
                after=cursor,
                form=Form.TYPED_EVENTS if request.typed else Form.EVENTS,
                bounds=bounds,
                master_keys=self._pools.master_keys,
            )
