"""Pace: what a stream tells its client, and how far it is."""

import asyncio
import random
from dataclasses import dataclass

from factwire.domain.errors import FactwireError
from factwire.domain.position import Cursor, Position
from factwire.follow.ring import FactBatch
from factwire.store.read import HistoryPage

MOVE_POSITIONS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Matching facts as ready events, and the cursor of the last one; one object for all that get the same."""

    body: bytes
    count: int
    cursor: Cursor

    @classmethod
    def of(cls, found: FactBatch | HistoryPage, last: Position) -> "Facts":
        return cls(found.body, found.facts, Cursor(found.epoch, last))


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
    """The stream ends because of an error. `cursor` is the last one that the client got."""

    error: FactwireError
    cursor: Cursor


Happening = Facts | CaughtUp | Moved | Quiet | Failed


class Progress:
    """How far one stream is, what its client knows of that, and when it is time for what.

    `tellable` is the last position that may be told: of a fact that it got, the end of a page of history, or the head.
    A batch of the newest facts ends where comparing them took long enough, and that depends on facts which its client
    may not be allowed to read.
    """

    __slots__ = (
        "_end_is_scheduled",
        "_first_head",
        "_heartbeat_seconds",
        "caught_up",
        "cursor",
        "ends_at",
        "epoch",
        "heartbeat_at",
        "reportable",
        "reported",
    )

    def __init__(self, after: Cursor, *, head: Position, heartbeat_seconds: float, ends_at: float) -> None:
        self.epoch = after.epoch
        self.cursor = self.reported = self.reportable = after.position
        self.ends_at = ends_at
        self.heartbeat_at = asyncio.get_running_loop().time() + heartbeat_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._end_is_scheduled = False
        self.caught_up = False
        self._first_head = head

    def advance(self, found: FactBatch | HistoryPage | None, head: Position, now: float) -> list[Happening]:
        """Go as far as was looked, and say what the client gets to know of that."""
        happenings: list[Happening] = []
        if found is not None:
            self.cursor = found.through
            if isinstance(found, HistoryPage):
                self.reportable = found.through
            if found.last is not None:
                self._report(found.last, now)
                happenings.append(Facts.of(found, found.last))
        at_head = self.cursor >= max(found.head if isinstance(found, HistoryPage) else head, self._first_head)
        if at_head:
            self.reportable = self.cursor
        if at_head and not self.caught_up:
            self.caught_up = True
            happenings.append(CaughtUp(self._report(self.cursor, now)))
        elif self.reportable - self.reported >= MOVE_POSITIONS:
            happenings.append(Moved(self._report(self.reportable, now)))
        return happenings

    def mark_delivered(self, through: Position, last: Position, now: float) -> None:
        """The client got all facts up to a position, the last of them at another."""
        self.cursor = through
        self.reported = self.reportable = last
        self.heartbeat_at = now + self._heartbeat_seconds

    def mark_compared(self, head: Position) -> None:
        """All facts up to the head of that moment were compared."""
        self.cursor = self.reportable = max(self.cursor, head)

    def next_heartbeat(self) -> Moved | Quiet:
        """The sign of life that is due, with the cursor if that has moved. It counts once mark_sent is told so."""
        return Moved(Cursor(self.epoch, self.reportable)) if self.reported < self.reportable else Quiet()

    def mark_sent(self, heartbeat: Moved | Quiet, now: float) -> None:
        """The client gets this heartbeat; the next one is due later."""
        self._report(heartbeat.cursor.position if isinstance(heartbeat, Moved) else self.reported, now)

    def failure(self, error: FactwireError) -> "Failed":
        """The end of the stream by an error, after the last cursor that the client got."""
        return Failed(error, Cursor(self.epoch, self.reported))

    def end_within(self, now: float, seconds: float) -> None:
        """Let the stream end soon, at a moment of its own, so that not all clients come back at once."""
        if not self._end_is_scheduled:
            self._end_is_scheduled = True
            self.ends_at = min(self.ends_at, now + seconds * random.uniform(0, 0.8))

    def _report(self, position: Position, now: float) -> Cursor:
        """Note that the client gets this cursor; the next sign of life is due a heartbeat later."""
        self.reported = position
        self.heartbeat_at = now + self._heartbeat_seconds
        return Cursor(self.epoch, position)
