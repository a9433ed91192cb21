"""The tail of a process: follows the log for all its streams, and notices when history was replaced."""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence

from factwire.domain.drain import Drain
from factwire.domain.errors import HistoryForked, InternalError, KeyUnavailable, LogDamaged, Unavailable
from factwire.domain.fact import NewFact
from factwire.domain.position import Position
from factwire.follow.fork_detection import SeenFacts
from factwire.follow.ring import Ring, Segment, segments
from factwire.store.append import Appended, Witness
from factwire.store.log import keep_notice, resolve
from factwire.store.pools import CONNECTION_FAILURES, Connection, Pools
from factwire.store.read_tail import Fork, Mark, TailFact, TailRead, open_tail, read_marks, read_tail
from factwire.telemetry.logs import describe_error

log = logging.getLogger(__name__)

ON_STANDBY = (
    "The database of this service is a standby: history and streams are served here, nothing is published or changed. "
    "Send this to a service on the primary."
)

POLL_FACTS_MAX = 1000
POLL_BYTES_MAX = 1024 * 1024

# A read that takes longer than so many polls, and than so many seconds, hangs.
STALE_POLLS = 4
STALE_SECONDS = 2.0


class Tail:
    """Reads each new fact once and keeps the newest in a ring.

    A hint makes it look at once; the poll is the guarantee. `fork` is set while the history that this process, or
    another one, has seen is not the history that is stored: nothing is published then, and nothing beyond the fork
    served, until the epoch is raised. `looked` is whether a first look has ended, well or not, and `on_standby` is None
    before the first one that ended well. `beginnings` counts the starts at the head: the first, and one for each epoch.
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
        self.fork: Fork | None = None
        self.looked = False
        self.on_standby: bool | None = None
        self.unreadable = 0
        self.damage: LogDamaged | None = None
        self._seen_facts = SeenFacts()
        self._read_at = -math.inf
        self._cause = ""
        self.drain = drain or Drain()
        self.forks = 0
        self._at_head_at: float | None = None

    @property
    def head(self) -> Position:
        return self.ring.head

    @property
    def lag_seconds(self) -> float:
        """How long ago the tail last saw that it was at the head: normally less than the time between two polls."""
        return math.inf if self._at_head_at is None else asyncio.get_running_loop().time() - self._at_head_at

    @property
    def reads(self) -> bool:
        """Whether the last read succeeded, and lately: one that hangs has not failed yet."""
        since = asyncio.get_running_loop().time() - self._read_at
        return not self._cause and since < max(STALE_SECONDS, STALE_POLLS * self._poll_seconds)

    @property
    def started(self) -> bool:
        return self.epoch > 0

    def hint(self) -> None:
        """There may be new facts."""
        self._hint.set()

    def wake(self) -> None:
        """Let every waiting stream look again."""
        self.changes += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self.on_change()

    def follow_append(self, appended: Appended, facts: Sequence[NewFact]) -> None:
        """Take what this process has just published straight into the ring, where it continues the ring exactly.

        Positions are dense, so nothing can be between the head of the ring and the fact behind it. That the head is
        the same fact, and not another one at the same position, is told by its id: after a fail-over that lost
        commits, a stream would go on in a history that its client has never seen the beginning of. Facts with sealed
        payloads are read: what was sealed may have been erased by now, and so may be anything where the counts differ.
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
        """Drop what the ring holds, where something was erased or redacted that it may hold; streams read it anew.

        `erasures` is the count that the log had afterwards. A look that began before is of no use any more.
        """
        if self.started and erasures > self.erasures:
            self._forget(erasures)

    def _forget(self, erasures: int) -> None:
        self.erasures = erasures
        self.ring.reset(self.head, epoch=self.epoch)
        self.wake()

    async def wait(self, until: float) -> None:
        """Wait for a change, at most until a time of the loop's clock."""
        changed = self._changed
        try:
            async with asyncio.timeout_at(until):
                await changed.wait()
        except TimeoutError:
            pass

    @property
    def witness(self) -> Witness | None:
        """The newest fact that this process has seen: where it is another one, history was replaced."""
        return None if self._last is None else Witness(self.epoch, self.head, self._last.id)

    async def is_continued_on(self, connection: Connection) -> bool:
        """Whether the newest fact that this process has seen is at its position on the server of a connection."""
        beginning, position, mark = self.beginnings, self.head, self._last
        stored = dict(await read_marks(connection, [position]))
        is_there = mark is None or stored.get(position) == mark
        return is_there and self.fork is None and self.beginnings == beginning

    def refuse_fork(self) -> None:
        """Raise HistoryForked while history is not that which was seen."""
        if self.fork is not None:
            raise HistoryForked(forked_after=self.fork.after)

    def refuse_beyond_fork(self, position: Position) -> None:
        """Raise HistoryForked where the fact at a position may be of another history than the one that was seen."""
        if self.fork is not None and (self.fork.after is None or position > self.fork.after):
            self.refuse_fork()

    def refuse_on_standby(self) -> None:
        """Raise Unavailable while the database is a standby: whatever writes is refused before it is tried."""
        if self.on_standby:
            raise Unavailable(ON_STANDBY)

    def refuse_to_follow(self) -> None:
        """Raise HistoryForked, or LogDamaged while a fact behind the head of the ring is missing."""
        self.refuse_fork()
        if self.damage is not None:
            raise self.damage

    async def reach_epoch(self, epoch: int, *, seconds: float) -> bool:
        """Look at once, and wait a moment until the tail is in an epoch; whether it is."""
        until = asyncio.get_running_loop().time() + seconds
        self.hint()
        while self.epoch != epoch and asyncio.get_running_loop().time() < until:
            await self.wait(until)
        return self.epoch == epoch

    async def detects_fork(self, *, seconds: float) -> bool:
        """Look at once, and wait a moment until a fork is noticed, and stored for all processes; whether it is."""
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
        """Tell when the database went away, and why, as long as that is the reason; and when it is back."""
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
        """Follow no further, and let the streams that wait for more say so."""
        if self.damage is None:
            log.error("%s", damage.detail)
            self.damage = damage
            self.wake()

    async def _read_new(self) -> bool:
        """Read what is new; whether there may be more of it."""
        async with self._pools.watch.acquire() as connection:
            if not self.started:
                await self._start_at_head(connection)
            anchor, mark, erasures = self.head, self._last, self.erasures
            read = await read_tail(connection, anchor=anchor, facts_max=POLL_FACTS_MAX, bytes_max=POLL_BYTES_MAX)
            self._set_standby(read.on_standby)
            if read.epoch > self.epoch:
                await self._start_at_head(connection)
                return True
            if not await self._continues_seen(connection, read, mark):
                return False
            # What this process published meanwhile is in the ring already.
            new = [fact for fact in read.facts if fact.position > self.head]
            ready = await self._decrypt(connection, new)
        if erasures != self.erasures:
            return True  # something was erased that this look may have seen
        if read.erasures != self.erasures:
            self._forget(read.erasures)
        self._take(new, ready)
        return len(new) > 0

    async def _continues_seen(self, connection: Connection, read: TailRead, mark: Mark | None) -> bool:
        """Whether what was read continues what was seen. A fork is noted, and a standby that lags waited for."""
        if read.is_behind(mark, epoch=self.epoch):
            return False
        if read.epoch < self.epoch:  # they only grow
            await self._fork(connection, read)
        elif self.fork is not None or read.fork is not None:
            await self._keep_forked(connection, read, mark)
        elif not read.continues(mark):
            await self._fork(connection, read)
        else:
            return True
        return False

    def _take(self, new: Sequence[TailFact], ready: Sequence[TailFact] | None) -> None:
        """Put what is new into the ring, as far as it is ready. Raises LogDamaged where a fact is missing."""
        if not new:
            self._at_head_at = asyncio.get_running_loop().time()
        elif new[0].position > self.head + 1:  # in a log that was empty
            raise LogDamaged(f"The fact at position {self.head + 1} is missing.")
        elif ready is None or any(fact.unreadable for fact in new):
            self._skip_unreadable(new)
        else:
            self._extend(segments([fact for fact in ready if fact.position > self.head]))

    async def _decrypt(self, connection: Connection, facts: Sequence[TailFact]) -> Sequence[TailFact] | None:
        """The facts with their payloads, as many as fit; None where this process cannot open one of them."""
        try:
            return await open_tail(connection, facts, bytes_max=POLL_BYTES_MAX, master_keys=self._pools.master_keys)
        except (KeyUnavailable, InternalError) as error:
            log.error("facts up to position %d cannot be opened: %s", facts[-1].position, error.detail)
            return None

    def _skip_unreadable(self, new: Sequence[TailFact]) -> None:
        """Leave facts that cannot be opened or parsed to pages of history, which have what is left of them."""
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
        self._seen_facts.keep(self.head, self._last)
        self.wake()

    async def _start_at_head(self, connection: Connection) -> None:
        """Begin at the head, as at the start of the process and of each epoch."""
        state = await resolve(connection, "head")
        read = await read_tail(connection, anchor=state.head, facts_max=0, bytes_max=POLL_BYTES_MAX)
        if self.started:
            log.warning("epoch %d began at position %d", state.epoch, state.head)
        self.beginnings += 1
        self.epoch = state.epoch
        self.erasures = read.erasures
        self.fork = read.fork
        self.ring.reset(state.head, epoch=state.epoch)
        self._last = read.facts[0].mark if read.facts else None
        self._seen_facts = SeenFacts()
        if self._last is not None:
            self._seen_facts.keep(state.head, self._last)
        self._set_standby(read.on_standby)
        self.wake()

    def _set_standby(self, on_standby: bool) -> None:
        if on_standby != self.on_standby:
            if on_standby:
                log.info("the database is a standby: history and streams are served, nothing is published")
            elif self.on_standby is not None:
                log.info("the database is a primary from here on")
            self.on_standby = on_standby

    async def _fork(self, connection: Connection, read: TailRead) -> None:
        """Find where the histories part, and let every process know."""
        seen = [*self.ring.marks(), *self._seen_facts.marks()]
        stored = dict(await read_marks(connection, [position for position, _ in seen]))
        parted = max((position for position, mark in seen if stored.get(position) == mark), default=None)
        place = "an unknown position" if parted is None else f"position {parted}"
        log.error("history was replaced after %s; raise the epoch to go on", place)
        self.forks += 1
        self.epoch = read.epoch
        fork = Fork(parted)
        try:
            # Stored before anybody is told: a process that started after the loss has no witness, and would still
            # publish after a client has learnt from this one that nothing is published.
            await self._store_fork(connection, read, fork)
        finally:
            self._adopt(fork)

    async def _keep_forked(self, connection: Connection, read: TailRead, mark: Mark | None) -> None:
        """Take over the notice of another process, or store the own one where that knows less, or is not stored."""
        if self.fork is None:
            assert read.fork is not None
            log.error("another process has noticed that history was replaced; raise the epoch to go on")
            if read.fork.after is None and not read.is_behind(mark, epoch=self.epoch) and not read.continues(mark):
                await self._fork(connection, read)
            else:
                self._adopt(read.fork)
        elif read.fork is None or (read.fork.after is None and self.fork.after is not None):
            await self._store_fork(connection, read, self.fork)
        elif self.fork.after is None and read.fork.after is not None:
            self._adopt(read.fork)

    def _adopt(self, fork: Fork) -> None:
        self.fork = fork
        self.ring.reset(self.head if fork.after is None else min(self.head, fork.after), epoch=self.epoch)
        self._last = None
        self.wake()

    async def _store_fork(self, connection: Connection, read: TailRead, fork: Fork) -> None:
        if not read.on_standby:
            await keep_notice(connection, epoch=self.epoch, fork=fork)
