"""Pace: what a stream tells its client, and how far it is."""

import asyncio
import random
from dataclasses import dataclass

from factwire.domain.errors import FactwireError
from factwire.domain.position import Cursor, Position
from factwire.store.reading import Page
from factwire.stream.ring import Batch

MOVE_POSITIONS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Matching facts as ready events, and the cursor of the last one; one object for all that get the same."""

    body: bytes
    count: int
    cursor: Cursor

    @classmethod
    def of(cls, found: Batch | Page, last: Position) -> "Facts":
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
    """The stream ends because of an error."""

    error: FactwireError


Happening = Facts | CaughtUp | Moved | Quiet | Failed


class Pace:
    """How far one stream is, what its client knows of that, and when it is time for what.

    `tellable` is the last position that may be told: of a fact that it got, the end of a page of history, or the head.
    A batch of the newest facts ends where comparing them took long enough, and that depends on facts which its client
    may not be allowed to read.
    """

    __slots__ = (
        "_draining",
        "_first_head",
        "_heartbeat_seconds",
        "caught_up",
        "cursor",
        "ends_at",
        "epoch",
        "quiet_at",
        "tellable",
        "told",
    )

    def __init__(self, after: Cursor, *, head: Position, heartbeat_seconds: float, ends_at: float) -> None:
        self.epoch = after.epoch
        self.cursor = self.told = self.tellable = after.position
        self.ends_at = ends_at
        self.quiet_at = asyncio.get_running_loop().time() + heartbeat_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._draining = False
        self.caught_up = False
        self._first_head = head

    def advance(self, found: Batch | Page | None, head: Position, now: float) -> list[Happening]:
        """Go as far as was looked, and say what the client gets to know of that."""
        happenings: list[Happening] = []
        if found is not None:
            self.cursor = found.through
            if isinstance(found, Page):
                self.tellable = found.through
            if found.last is not None:
                self._tell(found.last, now)
                happenings.append(Facts.of(found, found.last))
        at_head = self.cursor >= max(found.head if isinstance(found, Page) else head, self._first_head)
        if at_head:
            self.tellable = self.cursor
        if at_head and not self.caught_up:
            self.caught_up = True
            happenings.append(CaughtUp(self._tell(self.cursor, now)))
        elif self.tellable - self.told >= MOVE_POSITIONS:
            happenings.append(Moved(self._tell(self.tellable, now)))
        return happenings

    def served(self, through: Position, last: Position, now: float) -> None:
        """The client got all facts up to a position, the last of them at another."""
        self.cursor = through
        self.told = self.tellable = last
        self.quiet_at = now + self._heartbeat_seconds

    def passed(self, head: Position) -> None:
        """All facts up to the head of that moment were compared."""
        self.cursor = self.tellable = max(self.cursor, head)

    def sign_of_life(self, now: float) -> Happening:
        """What a client hears that has heard nothing for a heartbeat."""
        moved = self.told < self.tellable
        cursor = self._tell(max(self.told, self.tellable), now)
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
        return Cursor(self.epoch, position)
