"""Live: the streams that are at the head, and each new fact handed to all of them in one pass."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from app.domain.position import START, Position
from app.domain.query import Query
from app.stream.pace import MOVE_POSITIONS, Facts, Happening, Pace
from app.stream.ring import Batch
from app.stream.tail import Tail

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
DRAIN_TICK_SECONDS = 0.05  # streams that end at the same tick come back together
STREAMS_AT_ONCE = 250  # then others get their turn: 1 to 2 ms


class Link:
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
        """Whether it was handed over. Whatever is wrong with one client must not keep the others waiting."""
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


@dataclass(slots=True)
class Group:
    """Streams with the same query at the same cursor, so that a batch without a match moves them all at once."""

    members: dict[Link, Pace] = field(default_factory=dict)
    cursor: Position = START


class Live:
    """Pushes new facts to all streams of a process that wait at the head.

    Waking a task for each stream and fact would cost several times what sending costs. One task goes through the
    streams instead, and a stream's own task sleeps until it is needed: its client reads too slowly, it has to end, or
    the history changed.
    """

    def __init__(self, tail: Tail, *, on_passed: Callable[[Position, int], None] | None = None) -> None:
        self._tail = tail
        self._on_passed = on_passed
        self._groups: dict[tuple[int, Query, bool], Group] = {}
        self._order = (tail.epoch, tail.forked_after)
        self._tick_seconds = TICK_SECONDS
        self._seen = 0
        self._pushed: tuple[Batch, Facts] | None = None

    @property
    def streams(self) -> int:
        """How many streams are being pushed to."""
        return sum(len(group.members) for group in self._groups.values())

    async def wait(self, query: Query, typed: bool, link: Link, pace: Pace) -> None:
        """Be pushed to until the stream has to look by itself. The stream is at the head of the ring.

        Where the streams of the same query are at another cursor, because a pass is under way, it waits for the tail.
        """
        key = (pace.epoch, query, typed)
        group = self._groups.get(key)
        if group is None or not group.members:
            # Never an emptied one: a pass may still be about to move it.
            group = self._groups[key] = Group(cursor=pace.cursor)
        elif group.cursor != pace.cursor:
            await self._tail.wait(min(pace.quiet_at, pace.ends_at))
            return
        group.members[link] = pace
        link.woken = asyncio.get_running_loop().create_future()
        try:
            await link.woken
        finally:
            link.woken = None
            if link in group.members:
                take_out(group, link)
            if not group.members and self._groups.get(key) is group:
                del self._groups[key]

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
            # What changes while the pass below yields is seen by the next one, which does not wait then.
            changes = self._tail.changes
            if self._order != (self._tail.epoch, self._tail.forked_after):
                self._order = (self._tail.epoch, self._tail.forked_after)
                self.wake()
            await self._pass_on()
            if clock() >= ticked_at + self._tick_seconds:
                ticked_at = clock()
                await self._tick()

    async def _pass_on(self) -> None:
        """Push to every group what is in the ring now, and no more: a busy group must not keep the others waiting."""
        ring = self._tail.ring
        until = ring.head
        for (epoch, query, typed), group in list(self._groups.items()):
            while group.members and epoch == ring.epoch and ring.covers(group.cursor) and group.cursor < until:
                await self._serve(group, ring.take(query, group.cursor, typed=typed))
            if epoch == ring.epoch and not ring.covers(group.cursor):
                for link in group.members:
                    link.wake()
        if self._on_passed is not None:
            self._on_passed(until, self.streams)

    async def _serve(self, group: Group, batch: Batch) -> None:
        """Push a batch to every stream of a group, and let others run now and then."""
        if batch.last is not None:
            happening = self._facts_of(batch, batch.last)
            now = asyncio.get_running_loop().time()
            for link, pace in list(group.members.items()):
                if link not in group.members:
                    continue
                if link.waits() and link.pushed(happening):
                    pace.served(batch, batch.last, now)
                else:
                    take_out(group, link)
                    link.wake()
                self._seen += 1
                if self._seen >= STREAMS_AT_ONCE:
                    await self._breathe()
        # Only here: a stream that is taken out goes on from where it, or else the group, was before.
        group.cursor = batch.through

    def _facts_of(self, batch: Batch, last: Position) -> Facts:
        """A batch as it is pushed: made once where different queries found the same facts."""
        if self._pushed is None or self._pushed[0] is not batch:
            self._pushed = (batch, Facts.of(batch, last))
        return self._pushed[1]

    async def _tick(self) -> None:
        """Give signs of life where they are due, and wake the streams whose time has come."""
        now = asyncio.get_running_loop().time()
        for group in list(self._groups.values()):
            for link, pace in list(group.members.items()):
                # Most of the time nothing is due for most of them, and this line is what an idle stream costs.
                if now < pace.quiet_at and now < pace.ends_at and group.cursor - pace.told < MOVE_POSITIONS:
                    continue
                if link not in group.members or not link.waits():
                    continue
                pace.cursor = max(pace.cursor, group.cursor)
                told, quiet_at = pace.told, pace.quiet_at
                if now >= pace.ends_at:
                    link.wake()
                elif not link.pushed(pace.sign_of_life(now)):
                    # It was not told: the stream tells it by itself, within the time that its client has to read.
                    pace.told, pace.quiet_at = told, quiet_at
                    link.wake()
                self._seen += 1
                if self._seen >= STREAMS_AT_ONCE:
                    await self._breathe()

    async def _breathe(self) -> None:
        """Let others run after so many streams, of whichever groups."""
        self._seen = 0
        await asyncio.sleep(0)


def take_out(group: Group, link: Link) -> None:
    """Let a stream go on by itself, from where it was served last, or where the group moved to without a match."""
    pace = group.members.pop(link)
    pace.cursor = max(pace.cursor, group.cursor)
