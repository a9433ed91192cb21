"""Live: the streams that are at the head, and each new fact handed to all of them in one pass."""

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
DRAIN_TICK_SECONDS = 0.05  # streams that end at the same tick come back together
STREAMS_AT_ONCE = 50  # then others get their turn: half a millisecond
LOOKS_AT_ONCE = 5_000  # as many look-ups for queries take about as long
FACTS_AT_ONCE = 200
FEW_STREAMS = 16  # whose pass takes less than the answer to a publish
LONG_PASS_SECONDS = 0.0005  # as long as a publish takes at least
MORE_SECONDS_MAX = 0.005


class StreamLink:
    """The way to the client of one stream. `push` hands over what happens without waiting, or says that it cannot."""

    __slots__ = ("left", "push", "woken")

    def __init__(self, push: Callable[[Happening], bool]) -> None:
        self.push = push
        self.left = False
        self.woken: asyncio.Future[None] | None = None

    def waits(self) -> bool:
        """Whether the stream is still there to be pushed to: it may have been woken, or have left."""
        return self.woken is not None and not self.woken.done()

    def pushed(self, happening: Happening) -> bool:
        """Whether the stream waits, and it was handed over. What is wrong with one client must not stop the others."""
        if self.woken is None or self.woken.done():
            return False
        try:
            return self.push(happening)
        except Exception:
            log.exception("a stream could not be pushed to")
            return False

    def leave(self) -> None:
        """The client is gone."""
        self.left = True
        self.wake()

    def wake(self) -> None:
        """Let the stream look by itself."""
        if self.woken is not None and not self.woken.done():
            self.woken.set_result(None)


@dataclass(slots=True, eq=False)
class QueryGroup:
    """Streams with the same query at the same cursor, so that a batch without a match moves them all at once."""

    epoch: int
    query: Query
    typed: bool
    cursor: Position
    members: dict[StreamLink, Progress] = field(default_factory=dict)


class Fanout:
    """Pushes new facts to all streams of a process that wait at the head.

    Waking a task for each stream and fact would cost several times what sending costs. One task goes through the
    streams instead, and a stream's own task sleeps until it is needed: its client reads too slowly, it has to end, or
    the history changed. `more_to_come` tells whether this process is publishing something just now. Of several that
    share `turns`, one goes on at a time.
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
        self._query_index: QueryIndex[QueryGroup] = QueryIndex()
        self._order = self._order_of(tail)
        self._tick_seconds = TICK_SECONDS
        self._pass_seconds = 0.0
        self._passing = False
        self._seen = 0
        self._pushed: tuple[FactBatch, Facts] | None = None

    @property
    def streams(self) -> int:
        """How many streams are being pushed to."""
        return sum(len(group.members) for group in self._groups.values())

    async def wait(self, query: Query, typed: bool, link: StreamLink, progress: Progress) -> None:
        """Be pushed to until the stream has to look by itself. The stream is at the head of the ring.

        Where the streams of the same query are at another cursor, because a pass is under way, it waits for the tail.
        """
        key = (progress.epoch, query, typed)
        group = self._groups.get(key)
        if group is None or not group.members:
            # Never an emptied one: a pass may still be about to move it.
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
        """Let every stream look by itself."""
        for group in self._groups.values():
            for link in group.members:
                link.wake()

    def drain(self) -> None:
        """Let every stream look by itself, and from now on end each one close to its own moment."""
        self._tick_seconds = DRAIN_TICK_SECONDS
        self.wake()

    async def run(self) -> None:
        """Serve until cancelled."""
        clock = asyncio.get_running_loop().time
        changes, ticked_at = -1, clock()
        while True:
            if changes == self._tail.changes:
                await self._tail.wait(ticked_at + self._tick_seconds)
            if changes != self._tail.changes:
                await self._gather()
            # What changes while the pass below yields is seen by the next one, which does not wait then.
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
        """The streams look by themselves where one of these has changed."""
        return (tail.epoch, tail.fork, tail.damage)

    def _regroup(self, key: tuple[int, Query, bool], cursor: Position) -> QueryGroup:
        """Begin a group, in the place of one that was emptied."""
        if key in self._groups:
            self._dissolve(key)
        epoch, query, typed = key
        group = self._groups[key] = QueryGroup(epoch, query, typed, cursor)
        self._query_index.add(group, query)
        return group

    def _dissolve(self, key: tuple[int, Query, bool]) -> None:
        group = self._groups.pop(key)
        self._query_index.discard(group, group.query)

    async def _gather(self) -> None:
        """Where going through the streams takes long, wait for what is being published before it is done once more.

        One write of two facts costs a stream little more than one of a single fact. The wait is never longer than the
        pass that it may save.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + min(self._pass_seconds, MORE_SECONDS_MAX)
        while self._pass_seconds > LONG_PASS_SECONDS and self._more_to_come() and clock() < until:
            await self._tail.wait(until)

    def push_to_few(self) -> None:
        """Push to a few streams on the spot: until the task has its turn, the publisher would be answered first."""
        if not self._passing and len(self._groups) <= FEW_STREAMS and self.streams <= FEW_STREAMS:
            for may_stop in self._push_next():
                if may_stop:  # it takes long after all, and is left to the task
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
        """Push to every group what is in the ring now, and no more: a busy group must not keep the others waiting.

        It pauses where others should have their turn, and whatever may change meanwhile is looked at anew. Each pause
        says whether the pass may be given up there: between groups, not among the streams of one.
        """
        ring = self._tail.ring
        until = ring.head
        elsewhere = self._groups_not_at(until)
        while behind := [group for group in elsewhere if self._is_behind(group, until)]:
            now = asyncio.get_running_loop().time()
            cursor = min(group.cursor for group in behind)
            # A list, since the ring may drop the oldest of them meanwhile.
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
        """The groups that are not at a position."""
        return [group for group in self._groups.values() if group.cursor != position]

    def _is_behind(self, group: QueryGroup, position: Position) -> bool:
        """Whether what leads to a position can be pushed to a group from the ring, as the ring is now."""
        ring = self._tail.ring
        within = ring.after <= group.cursor < position <= ring.head and group.epoch == ring.epoch
        return within and len(group.members) > 0

    def _wake_outside(self, group: QueryGroup) -> None:
        """Let the streams of a group look by themselves where it is outside of the ring."""
        ring = self._tail.ring
        if group.epoch == ring.epoch and not ring.covers(group.cursor):
            for link in group.members:
                link.wake()

    def _move(self, group: QueryGroup, found: Sequence[Position], through: Position, now: float) -> Iterator[bool]:
        """Push to the streams of a group what was found for it up to a position, as much as is pushed at once."""
        if found[0] <= group.cursor:
            found = found[bisect_right(found, group.cursor) :]
        if found:
            batch = self._tail.ring.gather(found, through=through, typed=group.typed)
            facts, through = self._facts_of(batch), batch.through
            try:
                yield from self._push(group, facts, through, now)
            except GeneratorExit:
                # The pass is given up in between: who has got the facts must not get them again with the others.
                for link, progress in list(group.members.items()):
                    if progress.cursor > group.cursor:
                        remove_link(group, link)
                        link.wake()
                raise
        # Only here: a stream that is taken out goes on from where it, or else the group, was before.
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
        """A batch as it is pushed: made once where different queries found the same facts."""
        if self._pushed is None or self._pushed[0] is not batch:
            assert batch.last is not None
            self._pushed = (batch, Facts.of(batch, batch.last))
        return self._pushed[1]

    def _tick(self) -> Generator[bool]:
        """Give signs of life where they are due, and wake the streams whose time has come."""
        now = asyncio.get_running_loop().time()
        for group in list(self._groups.values()):
            for link, progress in list(group.members.items()):
                # Most of the time nothing is due for most of them, and this line is what an idle stream costs.
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
                    # A heartbeat that was not sent is sent by the stream, within the time that its client has to read.
                    link.wake()
                self._seen += 1
                if self._seen >= STREAMS_AT_ONCE:
                    yield from self._yield_between()

    def _yield_between(self) -> Iterator[bool]:
        """Let others run after so many streams, of whichever groups."""
        self._seen = 0
        yield False


async def run_in_turns(steps: Generator[bool], turns: asyncio.Lock | None = None) -> None:
    """Go on with what pauses now and then, and let others run at each pause; `turns` are held until they have run."""
    with closing(steps):
        while True:
            async with turns or nullcontext():
                if next(steps, None) is None:
                    return
                await asyncio.sleep(0)


def remove_link(group: QueryGroup, link: StreamLink) -> None:
    """Let a stream go on by itself, from where it was served last, or where the group moved to without a match."""
    progress = group.members.pop(link)
    progress.mark_compared(group.cursor)
