"""Fork detection: compares each read of the tail with the facts seen before, and stores a fork for all processes.

A fork is a history that was replaced: by a fail-over that lost commits, or by a restore. After it no process publishes,
and no stream continues past the shared part, until the epoch is raised.
"""

import logging
from collections.abc import Callable, Sequence

from factwire.domain.position import Position
from factwire.store.connection import Connection
from factwire.store.log import keep_notice
from factwire.store.read_tail import Fork, Mark, TailRead, read_marks

log = logging.getLogger(__name__)

SEEN_MARKS_MAX = 64


class SeenFacts:
    """Marks of some of the facts that were seen: the older the facts, the fewer marks.

    If the ring is empty, the marks show the position at which the histories part.
    """

    def __init__(self) -> None:
        self._marks: list[tuple[Position, Mark]] = []

    def keep(self, position: Position, mark: Mark) -> None:
        self._marks.append((position, mark))
        if len(self._marks) > SEEN_MARKS_MAX:
            newest = self._marks[-SEEN_MARKS_MAX // 2 :]
            self._marks = self._marks[: -SEEN_MARKS_MAX // 2 : 2] + newest

    def marks(self) -> list[tuple[Position, Mark]]:
        return self._marks


class ForkDetection:
    """The fork that is known to this process, if any. `adopt` is called with each change of it, and its epoch."""

    def __init__(self, adopt: Callable[[Fork, int], None]) -> None:
        self._adopt = adopt
        self.fork: Fork | None = None
        self.count = 0
        self.seen = SeenFacts()

    def restart(self, fork: Fork | None) -> None:
        """Begin a new epoch: its history was not seen before."""
        self.fork = fork
        self.seen = SeenFacts()

    async def continues(
        self,
        connection: Connection,
        read: TailRead,
        mark: Mark | None,
        *,
        epoch: int,
        ring_marks: Callable[[], Sequence[tuple[Position, Mark]]],
    ) -> bool:
        """True if a read continues the history that was seen. Otherwise a fork is known, or a standby lags."""
        if read.is_behind(mark, epoch=epoch):
            return False
        if read.epoch < epoch:  # they only grow
            await self._detect(connection, read, ring_marks())
        elif self.fork is not None or read.fork is not None:
            await self._reconcile(connection, read, mark, epoch, ring_marks)
        elif not read.continues(mark):
            await self._detect(connection, read, ring_marks())
        else:
            return True
        return False

    async def _detect(
        self, connection: Connection, read: TailRead, ring_marks: Sequence[tuple[Position, Mark]]
    ) -> None:
        """Find the position at which the histories part, and store the fork for all processes."""
        seen = [*ring_marks, *self.seen.marks()]
        stored = dict(await read_marks(connection, [position for position, _ in seen]))
        parted = max((position for position, mark in seen if stored.get(position) == mark), default=None)
        place = "an unknown position" if parted is None else f"position {parted}"
        log.error("history was replaced after %s; raise the epoch to continue", place)
        self.count += 1
        fork = Fork(parted)
        try:
            # Stored before any client is notified: a process that started after the loss has no witness, and would
            # still publish after a client has learnt from this one that nothing is published.
            await self._store(connection, read, fork, read.epoch)
        finally:
            self._set(fork, read.epoch)

    async def _reconcile(
        self,
        connection: Connection,
        read: TailRead,
        mark: Mark | None,
        epoch: int,
        ring_marks: Callable[[], Sequence[tuple[Position, Mark]]],
    ) -> None:
        """Adopt the fork that another process stored, or store the own one if that has more information."""
        if self.fork is None:
            assert read.fork is not None
            log.error("another process has detected that history was replaced; raise the epoch to continue")
            if read.fork.after is None and not read.is_behind(mark, epoch=epoch) and not read.continues(mark):
                await self._detect(connection, read, ring_marks())
            else:
                self._set(read.fork, epoch)
        elif read.fork is None or (read.fork.after is None and self.fork.after is not None):
            await self._store(connection, read, self.fork, epoch)
        elif self.fork.after is None and read.fork.after is not None:
            self._set(read.fork, epoch)

    def _set(self, fork: Fork, epoch: int) -> None:
        self.fork = fork
        self._adopt(fork, epoch)

    async def _store(self, connection: Connection, read: TailRead, fork: Fork, epoch: int) -> None:
        if not read.on_standby:
            await keep_notice(connection, epoch=epoch, fork=fork)
