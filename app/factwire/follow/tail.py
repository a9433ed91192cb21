"""Tail of the log in a process: follows the log for all its streams, and detects a replaced history (a fork)."""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence

from factwire.domain.drain import Drain
from factwire.domain.errors import HistoryForked, InternalError, KeyUnavailable, LogDamaged, Unavailable
from factwire.domain.fact import NewFact
from factwire.domain.position import Position
from factwire.follow.fork_detection import ForkDetection
from factwire.follow.ring import Ring, Segment, segments
from factwire.store.append import Appended, Witness
from factwire.store.connection import Connection
from factwire.store.log import resolve
from factwire.store.pools import CONNECTION_FAILURES, Pools
from factwire.store.read_tail import Fork, Mark, TailFact, open_tail, read_marks, read_tail
from factwire.telemetry.logs import describe_error

log = logging.getLogger(__name__)

ON_STANDBY = (
    "The database of this service is a standby: history and streams are served here, nothing is published or changed. "
    "Send this to a service on the primary."
)

POLL_FACTS_MAX = 1000
POLL_BYTES_MAX = 1024 * 1024

# A read hangs if it takes longer than so many polls, and also longer than so many seconds.
STALE_POLLS = 4
STALE_SECONDS = 2.0


class Tail:
    """Reads each new fact once and keeps the newest in a ring.

    A hint makes it read at once; the poll is the guarantee. `fork` is set while the stored history is not the history
    that this process, or another one, has seen: until the epoch is raised, nothing is published, and nothing beyond the
    fork is served. `looked` is True after the first read, successful or not, and `on_standby` stays None until the
    first successful one. `beginnings` counts the starts at the head: the first, and one for each epoch.
    """

    def __init__(
        self,
        pools: Pools,
        ring: Ring,
        *,
        poll_seconds: float,
        on_extended: Callable[[Segment], None] | None = None,
        drain: Drain | None = None,
    ) -> None:
        self._pools = pools
        self._poll_seconds = poll_seconds
        self._on_extended = on_extended
        self._hint = asyncio.Event()
        self._changed = asyncio.Event()
        self.changes = 0
        self.on_change: Callable[[], None] = lambda: None
        self._last: Mark | None = None
        self.ring = ring
        self.epoch = 0
        self.beginnings = 0
        self.erasures = 0
        self.looked = False
        self.on_standby: bool | None = None
        self.unreadable = 0
        self.damage: LogDamaged | None = None
        self._detection = ForkDetection(self._adopt)
        self._read_at = -math.inf
        self._cause = ""
        self.drain = drain or Drain()
        self._at_head_at: float | None = None

    @property
    def fork(self) -> Fork | None:
        """The fork of the history that is known to this process."""
        return self._detection.fork

    @property
    def forks(self) -> int:
        """Number of forks that this process has detected."""
        return self._detection.count

    @property
    def head(self) -> Position:
        return self.ring.head

    @property
    def lag_seconds(self) -> float:
        """Seconds since the tail last saw that it was at the head: normally less than the time between two polls."""
        return math.inf if self._at_head_at is None else asyncio.get_running_loop().time() - self._at_head_at

    @property
    def reads(self) -> bool:
        """True if the last read succeeded, and recently: a read that hangs has not failed yet."""
        since = asyncio.get_running_loop().time() - self._read_at
        return not self._cause and since < max(STALE_SECONDS, STALE_POLLS * self._poll_seconds)

    @property
    def started(self) -> bool:
        return self.epoch > 0

    def hint(self) -> None:
        """Make the tail read now: there may be new facts."""
        self._hint.set()

    def wake(self) -> None:
        """Wake every waiting stream, so that it reads again."""
        self.changes += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self.on_change()

    def follow_append(self, appended: Appended, facts: Sequence[NewFact]) -> None:
        """Add the facts that this process has just published directly to the ring, if they continue it exactly.

        Positions are dense, so nothing can be between the head of the ring and the fact after it. The id of the head
        shows that it is the same fact, and not another one at the same position: after a fail-over that lost commits,
        a stream would continue in a history of which its client has never seen the beginning. Facts with sealed
        payloads are read from the log: they may have been erased by now, and so may any fact if the counts of erasures
        differ.
        """
        if (
            appended.epoch == self.epoch
            and appended.erasures == self.erasures
            and self.fork is None
            and not any(fact.data_subject for fact in facts)
            and (appended.head, appended.head_id) == (self.head, self._last and self._last.id)
        ):
            self._extend([Segment(Position(appended.head + 1), appended.published_at, facts)])
        else:
            self.hint()

    def forget(self, erasures: int) -> None:
        """Empty the ring after an erasure or redaction of facts that it may hold; streams read them again.

        `erasures` is the count that the log had afterwards. A read that began before is discarded.
        """
        if self.started and erasures > self.erasures:
            self._forget(erasures)

    def _forget(self, erasures: int) -> None:
        self.erasures = erasures
        self.ring.reset(self.head, epoch=self.epoch)
        self.wake()

    async def wait(self, until: float) -> None:
        """Wait for a change, at most until a time on the clock of the event loop."""
        changed = self._changed
        try:
            async with asyncio.timeout_at(until):
                await changed.wait()
        except TimeoutError:
            pass

    @property
    def witness(self) -> Witness | None:
        """Newest fact that this process has seen: if another fact is stored at its position, history was replaced."""
        return None if self._last is None else Witness(self.epoch, self.head, self._last.id)

    async def is_continued_on(self, connection: Connection) -> bool:
        """True if the newest fact that this process has seen is at its position on the server of a connection."""
        beginning, position, mark = self.beginnings, self.head, self._last
        stored = dict(await read_marks(connection, [position]))
        is_there = mark is None or stored.get(position) == mark
        return is_there and self.fork is None and self.beginnings == beginning

    def refuse_fork(self) -> None:
        """Raises HistoryForked while the stored history is not the one that was seen."""
        if self.fork is not None:
            raise HistoryForked(forked_after=self.fork.after)

    def refuse_beyond_fork(self, position: Position) -> None:
        """Raises HistoryForked if the fact at a position may be of another history than the one that was seen."""
        if self.fork is not None and (self.fork.after is None or position > self.fork.after):
            self.refuse_fork()

    def refuse_on_standby(self) -> None:
        """Raises Unavailable while the database is a standby: every write is refused before it is tried."""
        if self.on_standby:
            raise Unavailable(ON_STANDBY)

    def refuse_to_follow(self) -> None:
        """Raises HistoryForked, or LogDamaged while a fact after the head of the ring is missing."""
        self.refuse_fork()
        if self.damage is not None:
            raise self.damage

    async def reach_epoch(self, epoch: int, *, seconds: float) -> bool:
        """True if the tail is in an epoch, after an immediate read and a wait of at most `seconds`."""
        until = asyncio.get_running_loop().time() + seconds
        self.hint()
        while self.epoch != epoch and asyncio.get_running_loop().time() < until:
            await self.wait(until)
        return self.epoch == epoch

    async def detects_fork(self, *, seconds: float) -> bool:
        """True if a fork is detected, and stored for all processes, after an immediate read and at most `seconds`."""
        until = asyncio.get_running_loop().time() + seconds
        beginning = self.beginnings
        self.hint()
        while self.fork is None and self.beginnings == beginning and asyncio.get_running_loop().time() < until:
            await self.wait(until)
        return self.fork is not None

    async def run(self) -> None:
        """Follow the log until cancelled."""
        while True:
            self._hint.clear()
            try:
                more = await self._read_new()
                self._log_failure(None)
            except LogDamaged as error:
                more = False
                self._log_damage(error)
            except (Unavailable, *CONNECTION_FAILURES) as error:
                more = False
                self._log_failure(error)
            self.looked = True
            if not more:
                try:
                    async with asyncio.timeout(self._poll_seconds):
                        await self._hint.wait()
                except TimeoutError:
                    pass

    def _log_failure(self, failure: Exception | None) -> None:
        """Log the loss of the database with its cause, once for each cause, and the recovery."""
        cause = "" if failure is None else describe_error(failure.__cause__ or failure)
        if cause and cause != self._cause:
            log.warning("the tail cannot read: %s", cause)
        elif self._cause and not cause:
            log.info("the tail reads again")
        self._cause = cause
        if not cause:
            self.damage = None
            self._read_at = asyncio.get_running_loop().time()

    def _log_damage(self, damage: LogDamaged) -> None:
        """Stop following at this fact, and wake the waiting streams, so that they report the damage."""
        if self.damage is None:
            log.error("%s", damage.detail)
            self.damage = damage
            self.wake()

    async def _read_new(self) -> bool:
        """Read the new facts, and return True if there may be more of them."""
        async with self._pools.watch.acquire() as connection:
            if not self.started:
                await self._start_at_head(connection)
            anchor, mark, erasures = self.head, self._last, self.erasures
            read = await read_tail(connection, anchor=anchor, facts_max=POLL_FACTS_MAX, bytes_max=POLL_BYTES_MAX)
            self._set_standby(read.on_standby)
            if read.epoch > self.epoch:
                await self._start_at_head(connection)
                return True
            if not await self._detection.continues(
                connection, read, mark, epoch=self.epoch, ring_marks=self.ring.marks
            ):
                return False
            # Facts that this process published meanwhile are in the ring already.
            new = [fact for fact in read.facts if fact.position > self.head]
            ready = await self._decrypt(connection, new)
        if erasures != self.erasures:
            return True  # a fact was erased that this read may have seen
        if read.erasures != self.erasures:
            self._forget(read.erasures)
        self._take(new, ready)
        return len(new) > 0

    def _take(self, new: Sequence[TailFact], ready: Sequence[TailFact] | None) -> None:
        """Add the new facts to the ring, as far as they are ready. Raises LogDamaged if a fact is missing."""
        if not new:
            self._at_head_at = asyncio.get_running_loop().time()
        elif new[0].position > self.head + 1:  # only in a log that was empty
            raise LogDamaged(f"The fact at position {self.head + 1} is missing.")
        elif ready is None or any(fact.unreadable for fact in new):
            self._skip_unreadable(new)
        else:
            self._extend(segments([fact for fact in ready if fact.position > self.head]))

    async def _decrypt(self, connection: Connection, facts: Sequence[TailFact]) -> Sequence[TailFact] | None:
        """Return the facts with decrypted payloads, as many as fit; None if this process cannot decrypt one of them."""
        try:
            return await open_tail(connection, facts, bytes_max=POLL_BYTES_MAX, master_keys=self._pools.master_keys)
        except (KeyUnavailable, InternalError) as error:
            log.error("facts up to position %d cannot be decrypted: %s", facts[-1].position, error.detail)
            return None

    def _skip_unreadable(self, new: Sequence[TailFact]) -> None:
        """Skip facts that cannot be decrypted or parsed: pages of history serve the remaining parts of them."""
        last = new[-1]
        for fact in new:
            if fact.unreadable:
                self.unreadable += 1
                log.error("the stored document of position %d cannot be read: run `factwire verify`", fact.position)
        if last.position > self.head:
            self.ring.reset(last.position, epoch=self.epoch)
            self._last = last.mark
            self.wake()

    def _extend(self, added: Sequence[Segment]) -> None:
        if not added:
            return
        for segment in added:
            self.ring.extend(segment)
            if self._on_extended is not None:
                self._on_extended(segment)
        self._last = Mark(added[-1].facts[-1].id, added[-1].published_at)
        self._detection.seen.keep(self.head, self._last)
        self.wake()

    async def _start_at_head(self, connection: Connection) -> None:
        """Begin at the head, at the start of the process and of each epoch."""
        state = await resolve(connection, "head")
        read = await read_tail(connection, anchor=state.head, facts_max=0, bytes_max=POLL_BYTES_MAX)
        if self.started:
            log.warning("epoch %d began at position %d", state.epoch, state.head)
        self.beginnings += 1
        self.epoch = state.epoch
        self.erasures = read.erasures
        self._detection.restart(read.fork)
        self.ring.reset(state.head, epoch=state.epoch)
        self._last = read.facts[0].mark if read.facts else None
        if self._last is not None:
            self._detection.seen.keep(state.head, self._last)
        self._set_standby(read.on_standby)
        self.wake()

    def _set_standby(self, on_standby: bool) -> None:
        if on_standby != self.on_standby:
            if on_standby:
                log.info("the database is a standby: history and streams are served, nothing is published")
            elif self.on_standby is not None:
                log.info("the database is a primary now")
            self.on_standby = on_standby

    def _adopt(self, fork: Fork, epoch: int) -> None:
        """Serve from the ring only the facts up to the fork."""
        self.epoch = epoch
        self.ring.reset(self.head if fork.after is None else min(self.head, fork.after), epoch=epoch)
        self._last = None
        self.wake()
