"""Progress of a stream: its cursor, the items that it sends to its client, and its heartbeats."""

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
    """Matching facts as ready events, and the cursor of the last one; streams with the same facts share one object."""

    body: bytes
    count: int
    cursor: Cursor

    @classmethod
    def of(cls, found: FactBatch | HistoryPage, last: Position) -> "Facts":
        return cls(found.body, found.facts, Cursor(found.epoch, last))


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """End of history: all later items are live."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Moved:
    """Movement of the cursor although nothing matched."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Quiet:
    """Heartbeat without a new cursor: nothing happened during the heartbeat interval."""


@dataclass(frozen=True, slots=True)
class Failed:
    """End of the stream because of an error. `cursor` is the last one that the client got."""

    error: FactwireError
    cursor: Cursor


Happening = Facts | CaughtUp | Moved | Quiet | Failed


class Progress:
    """Progress of one stream: its cursor, the position reported to its client, and the times of heartbeat and end.

    `reportable` is the last position that may be reported: that of a fact that the client got, the end of a page of
    history, or the head. The end of a batch of the newest facts may not be reported: the batch ends after enough time
    was spent on comparing, and that depends on facts that the client may not be allowed to read.
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
        """Advance to the end of the facts that were compared, and return the items for the client."""
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
        """Record that the client got all facts up to `through`; the last match is at position `last`."""
        self.cursor = through
        self.reported = self.reportable = last
        self.heartbeat_at = now + self._heartbeat_seconds

    def mark_compared(self, head: Position) -> None:
        """Record that all facts up to the head at that time were compared."""
        self.cursor = self.reportable = max(self.cursor, head)

    def next_heartbeat(self) -> Moved | Quiet:
        """Return the heartbeat that is due, with the cursor if that has moved. It counts only after mark_sent."""
        return Moved(Cursor(self.epoch, self.reportable)) if self.reported < self.reportable else Quiet()

    def mark_sent(self, heartbeat: Moved | Quiet, now: float) -> None:
        """Record that the client gets this heartbeat; the next one is due an interval later."""
        self._report(heartbeat.cursor.position if isinstance(heartbeat, Moved) else self.reported, now)

    def failure(self, error: FactwireError) -> "Failed":
        """Return the end of the stream by an error, with the last cursor that the client got."""
        return Failed(error, Cursor(self.epoch, self.reported))

    def end_within(self, now: float, seconds: float) -> None:
        """Schedule the end of the stream at a random time soon, so that not all clients reconnect at once."""
        if not self._end_is_scheduled:
            self._end_is_scheduled = True
            self.ends_at = min(self.ends_at, now + seconds * random.uniform(0, 0.8))

    def _report(self, position: Position, now: float) -> Cursor:
        """Record that the client gets this cursor; the next heartbeat is due an interval later."""
        self.reported = position
        self.heartbeat_at = now + self._heartbeat_seconds
        return Cursor(self.epoch, position)
