"""Fan-out of new facts: one pass pushes each new fact to all streams that are at the head."""

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter

from factwire.domain.fact import NewFact
from factwire.domain.position import Position
from factwire.domain.query import Query
from factwire.follow.progress import MOVE_POSITIONS, Facts, Happening, Progress
from factwire.follow.query_index import MatchedStreams, QueryIndex
from factwire.follow.ring import FactBatch
from factwire.follow.tail import Tail
from factwire.store.read_tail import TailFact

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
DRAIN_TICK_SECONDS = 0.05  # streams that end at the same tick reconnect together
STREAMS_AT_ONCE = 50  # takes half a millisecond, then other tasks run
LOOKS_AT_ONCE = 5_000  # look-ups for queries, which take about as long
FACTS_AT_ONCE = 200
FEW_STREAMS = 16  # a pass over so few takes less time than the answer to a publish
LONG_PASS_SECONDS = 0.0005  # the shortest duration of a publish
MORE_SECONDS_MAX = 0.005


class StreamLink:
    """Link to the client of one stream. `push` hands over an item without waiting, or returns False if it cannot."""

    __slots__ = ("left", "push", "woken")

    def __init__(self, push: Callable[[Happening], bool]) -> None:
        self.push = push
        self.left = False
        self.woken: asyncio.Future[None] | None = None

    def waits(self) -> bool:
        """True if the stream still waits for a push: it may have been woken, or have left."""
        return self.woken is not None and not self.woken.done()

    def pushed(self, happening: Happening) -> bool:
        """True if the stream waits and the push succeeded. An error of one client must not stop the others."""
        if self.woken is None or self.woken.done():
            return False
        try:
            return self.push(happening)
        except Exception:
            log.exception("a push to a stream failed")
            return False

    def leave(self) -> None:
        """Mark the client as gone, and wake the stream."""
        self.left = True
        self.wake()

    def wake(self) -> None:
        """Wake the task of the stream, which then reads by itself."""
        if self.woken is not None and not self.woken.done():
            self.woken.set_result(None)


@dataclass(slots=True, eq=False)
class QueryGroup:
    """Streams with the same query at the same cursor: a batch without a match moves them all at once."""

    epoch: int
    query: Query
    typed: bool
    cursor: Position
    members: dict[StreamLink, Progress] = field(default_factory=dict)


class Fanout:
    """Pushes new facts to all streams of a process that wait at the head.

    Waking one task for each stream and fact would cost several times as much as sending. Instead, one task goes through
    all streams. A stream's own task sleeps until it is needed: its client reads too slowly, it has to end, or the
    history changed. `more_to_come` returns True while this process is publishing. If several instances share `turns`,
    one of them runs at a time.
    """

    def __init__(
        self,
        tail: Tail,
        *,
        more_to_come: Callable[[], bool] = lambda: False,
        on_passed: Callable[[Position, int], None] | None = None,
        turns: asyncio.Lock | None = None,
    ) -> None:
        self._tail = tail
        self._turns = turns
        self._more_to_come = more_to_come
        self._on_passed = on_passed
        self._groups: dict[tuple[int, Query, bool], QueryGroup] = {}
        self._followed = asyncio.Event()  # while there are groups
        self._query_index: QueryIndex[QueryGroup] = QueryIndex()
        self._order = self._order_of(tail)
        self._tick_seconds = TICK_SECONDS
        self._pass_seconds = 0.0
        self._passing = False
        self._seen = 0
        self._pushed: tuple[FactBatch, Facts] | None = None

    @property
    def streams(self) -> int:
        """Number of streams that are being pushed to."""
        return sum(len(group.members) for group in self._groups.values())

    async def wait(self, query: Query, typed: bool, link: StreamLink, progress: Progress) -> None:
        """Receive pushes until the stream has to read by itself. The stream is at the head of the ring.

        If the streams of the same query are at another cursor, because a pass is under way, it waits for the tail.
        """
        key = (progress.epoch, query, typed)
        group = self._groups.get(key)
        if group is None or not group.members:
            # Never reuse an emptied group: a pass may still be about to move it.
            group = self._regroup(key, progress.cursor)
        elif group.cursor != progress.cursor:
            await self._tail.wait(min(progress.heartbeat_at, progress.ends_at))
            return
        group.members[link] = progress
        link.woken = asyncio.get_running_loop().create_future()
        try:
            await link.woken
        finally:
            link.woken = None
            if link in group.members:
                remove_link(group, link)
            if not group.members and self._groups.get(key) is group:
                self._dissolve(key)

    def wake(self) -> None:
        """Wake every stream, so that it reads by itself."""
        for group in self._groups.values():
            for link in group.members:
                link.wake()

    def drain(self) -> None:
        """Wake every stream, and from now on end each one close to its own end time."""
        self._tick_seconds = DRAIN_TICK_SECONDS
        self.wake()

    async def run(self) -> None:
        """Push to the streams until cancelled."""
        clock = asyncio.get_running_loop().time
        changes, ticked_at = -1, clock()
        while True:
            if self._on_passed is None:
                await self._followed.wait()  # without streams, a publish wakes no task
            if changes == self._tail.changes:
                await self._tail.wait(ticked_at + self._tick_seconds)
            if changes != self._tail.changes:
                await self._gather()
            # A change while the pass below yields is seen by the next pass, which then does not wait.
            changes = self._tail.changes
            if self._order != self._order_of(self._tail):
                self._order = self._order_of(self._tail)
                self.wake()
            await self._push_all()
            if clock() >= ticked_at + self._tick_seconds:
                ticked_at = clock()
                await run_in_turns(self._tick(), self._turns)

    @staticmethod
    def _order_of(tail: Tail) -> tuple[object, ...]:
        """Values of the tail; if one of them changes, every stream has to read by itself."""
        return (tail.epoch, tail.fork, tail.damage)

    def _regroup(self, key: tuple[int, Query, bool], cursor: Position) -> QueryGroup:
        """Create a group, in place of one that was emptied."""
        if key in self._groups:
            self._dissolve(key)
        epoch, query, typed = key
        group = self._groups[key] = QueryGroup(epoch, query, typed, cursor)
        self._query_index.add(group, query)
        self._followed.set()
        return group

    def _dissolve(self, key: tuple[int, Query, bool]) -> None:
        group = self._groups.pop(key)
        self._query_index.discard(group, group.query)
        if not self._groups:
            self._followed.clear()

    async def _gather(self) -> None:
        """Wait for publishes that are under way, if a pass over the streams takes long.

        One write of two facts costs a stream little more than one write of a single fact. The wait is never longer than
        the pass that it may save.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + min(self._pass_seconds, MORE_SECONDS_MAX)
        while self._pass_seconds > LONG_PASS_SECONDS and self._more_to_come() and clock() < until:
            await self._tail.wait(until)

    def push_to_few(self) -> None:
        """Push to a few streams immediately: if they waited for the task, the publisher would be answered first."""
        is_needed = self._groups or self._on_passed is not None
        if is_needed and not self._passing and len(self._groups) <= FEW_STREAMS and self.streams <= FEW_STREAMS:
            for may_stop in self._push_next():
                if may_stop:  # it takes long after all: the task does the rest
                    break

    async def _push_all(self) -> None:
        began_at = perf_counter()
        self._passing = True
        try:
            await run_in_turns(self._push_next(), self._turns)
        finally:
            self._passing = False
        self._pass_seconds = perf_counter() - began_at

    def _push_next(self) -> Generator[bool]:
        """Push to every group the present content of the ring, and no more: a busy group must not delay the others.

        It pauses to let other tasks run, and afterwards checks again everything that may have changed meanwhile. It
        yields True if the pass may be abandoned at that pause: between groups, but not among the streams of one group.
        """
        ring = self._tail.ring
        until = ring.head
        elsewhere = self._groups_not_at(until)
        while behind := [group for group in elsewhere if self._is_behind(group, until)]:
            now = asyncio.get_running_loop().time()
            cursor = min(group.cursor for group in behind)
            # A list, because the ring may drop the oldest of them meanwhile.
            facts = list(islice(ring.behind(cursor), min(until - cursor, FACTS_AT_ONCE)))
            finding = yield from self._find(facts, cursor)
            found, through = finding.positions, finding.through
            for group in behind:
                if not self._is_behind(group, through):
                    continue
                if group in found:
                    yield from self._move(group, found[group], through, now)
                else:
                    group.cursor = through
            if through < until:
                yield True
            elsewhere = self._groups_not_at(until)
        for group in elsewhere:
            self._wake_outside(group)
        if self._on_passed is not None:
            self._on_passed(until, self.streams)

    def _find(
        self, facts: Sequence[tuple[Position, NewFact | TailFact]], cursor: Position
    ) -> Generator[bool, None, MatchedStreams[QueryGroup]]:
        for finding in self._query_index.find(facts, after=cursor, looks_max=LOOKS_AT_ONCE):
            if finding is not None:
                return finding
            yield True
        raise AssertionError("a search ends with what it found")

    def _groups_not_at(self, position: Position) -> list[QueryGroup]:
        """Return the groups that are not at a position."""
        return [group for group in self._groups.values() if group.cursor != position]

    def _is_behind(self, group: QueryGroup, position: Position) -> bool:
        """True if the facts up to a position can be pushed to a group from the ring in its present state."""
        ring = self._tail.ring
        within = ring.after <= group.cursor < position <= ring.head and group.epoch == ring.epoch
        return within and len(group.members) > 0

    def _wake_outside(self, group: QueryGroup) -> None:
        """Wake the streams of a group if it is outside the ring, so that they read by themselves."""
        ring = self._tail.ring
        if group.epoch == ring.epoch and not ring.covers(group.cursor):
            for link in group.members:
                link.wake()

    def _move(self, group: QueryGroup, found: Sequence[Position], through: Position, now: float) -> Iterator[bool]:
        """Push the facts that were found for a group, up to a position or to the size of one batch, to its streams."""
        if found[0] <= group.cursor:
            found = found[bisect_right(found, group.cursor) :]
        if found:
            batch = self._tail.ring.gather(found, through=through, typed=group.typed)
            facts, through = self._facts_of(batch), batch.through
            try:
                yield from self._push(group, facts, through, now)
            except GeneratorExit:
                # The pass was abandoned midway: a stream that has the facts must not get them again with the others.
                for link, progress in list(group.members.items()):
                    if progress.cursor > group.cursor:
                        remove_link(group, link)
                        link.wake()
                raise
        # Only here, so that a stream that is removed continues from its own cursor or the previous one of the group.
        group.cursor = through

    def _push(self, group: QueryGroup, facts: Facts, through: Position, now: float) -> Iterator[bool]:
        for link, progress in list(group.members.items()):
            if link not in group.members:
                continue
            if link.pushed(facts):
                progress.mark_delivered(through, facts.cursor.position, now)
            else:
                remove_link(group, link)
                link.wake()
            self._seen += 1
            if self._seen >= STREAMS_AT_ONCE:
                yield from self._yield_between()

    def _facts_of(self, batch: FactBatch) -> Facts:
        """Return a batch in the form that is pushed, made once if different queries found the same facts."""
        if self._pushed is None or self._pushed[0] is not batch:
            assert batch.last is not None
            self._pushed = (batch, Facts.of(batch, batch.last))
        return self._pushed[1]

    def _tick(self) -> Generator[bool]:
        """Send the heartbeats that are due, and wake the streams that have to end."""
        now = asyncio.get_running_loop().time()
        for group in list(self._groups.values()):
            for link, progress in list(group.members.items()):
                # Usually nothing is due for most of the streams: this condition is the whole cost of an idle stream.
                if (
                    now < progress.heartbeat_at
                    and now < progress.ends_at
                    and group.cursor - progress.reported < MOVE_POSITIONS
                ):
                    continue
                if link not in group.members or not link.waits():
                    continue
                progress.mark_compared(group.cursor)
                heartbeat = progress.next_heartbeat()
                if now < progress.ends_at and link.pushed(heartbeat):
                    progress.mark_sent(heartbeat, now)
                else:
                    # The stream itself sends the heartbeat that failed, within the time that its client has to read.
                    link.wake()
                self._seen += 1
                if self._seen >= STREAMS_AT_ONCE:
                    yield from self._yield_between()

    def _yield_between(self) -> Iterator[bool]:
        """Let other tasks run after so many streams, counted over all groups."""
        self._seen = 0
        yield False


async def run_in_turns(steps: Generator[bool], turns: asyncio.Lock | None = None) -> None:
    """Run a generator to its end, and let other tasks run at each pause; `turns` is held until they have run."""
    with closing(steps):
        while True:
            async with turns or nullcontext():
                if next(steps, None) is None:
                    return
                await asyncio.sleep(0)


def remove_link(group: QueryGroup, link: StreamLink) -> None:
    """Remove a stream, which continues from its last push or from the cursor its group moved to without a match."""
    progress = group.members.pop(link)
    progress.mark_compared(group.cursor)
