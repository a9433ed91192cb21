"""The tail of a process: follows the log for all its streams, and notices when history changed behind them."""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence

from app.domain.errors import HistoryForked, InternalError, KeyUnavailable, Unavailable
from app.domain.fact import NewFact
from app.domain.position import START, Position
from app.store.appending import Appended
from app.store.database import CONNECTION_FAILURES, Connection, Database
from app.store.reading import Mark, TailFact, open_tail, read_marks, read_tail, resolve
from app.stream.ring import Ring, Segment, segments
from app.telemetry.logs import said

log = logging.getLogger(__name__)

POLL_FACTS_MAX = 1000
POLL_BYTES_MAX = 1024 * 1024

# A read that takes longer than so many polls, and than so many seconds, hangs.
STALE_POLLS = 4
STALE_SECONDS = 2.0


class Tail:
    """Reads each new fact once and keeps the newest in a ring.

    A hint makes it look at once; the poll is the guarantee. `forked_after` is set while the history that was seen is
    not the history that is stored: nothing beyond that position may be served until the epoch is raised.
    """

    def __init__(
        self,
        database: Database,
        ring: Ring,
        *,
        poll_seconds: float,
        on_extended: Callable[[Segment], None] | None = None,
    ) -> None:
        self._database = database
        self._poll_seconds = poll_seconds
        self._on_extended = on_extended
        self._hint = asyncio.Event()
        self._changed = asyncio.Event()
        self.changes = 0
        self.on_change: Callable[[], None] = lambda: None
        self._last: Mark | None = None
        self.ring = ring
        self.epoch = 0
        self.erasures = 0
        self.forked_after: Position | None = None
        self._read_at = -math.inf
        self._cause = self._sealed_off = ""
        self.draining = False
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
            and self.forked_after is None
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

    def refuse_fork(self) -> None:
        """Raise HistoryForked while history has changed behind its readers."""
        if self.forked_after is not None:
            raise HistoryForked(forked_after=self.forked_after)

    async def reach_epoch(self, epoch: int, *, seconds: float) -> bool:
        """Look at once, and wait a moment until the tail is in an epoch; whether it is."""
        until = asyncio.get_running_loop().time() + seconds
        self.hint()
        while self.epoch != epoch and asyncio.get_running_loop().time() < until:
            await self.wait(until)
        return self.epoch == epoch

    async def run(self) -> None:
        """Follow the log until cancelled."""
        while True:
            self._hint.clear()
            try:
                more = await self._look()
                self._note(None)
            except (Unavailable, *CONNECTION_FAILURES) as error:
                more = False
                self._note(error)
            if not more:
                try:
                    async with asyncio.timeout(self._poll_seconds):
                        await self._hint.wait()
                except TimeoutError:
                    pass

    def _note(self, failure: Exception | None) -> None:
        """Tell when the database went away, and why, as long as that is the reason; and when it is back."""
        cause = "" if failure is None else said(failure.__cause__ or failure)
        if cause and cause != self._cause:
            log.warning("the tail cannot read: %s", cause)
        elif self._cause and not cause:
            log.info("the tail reads again")
        self._cause = cause
        if not cause:
            self._read_at = asyncio.get_running_loop().time()

    async def _look(self) -> bool:
        """Read what is new; whether there may be more of it."""
        async with self._database.watching.reading() as connection:
            if not self.started:
                await self._begin(connection)
            anchor, mark, erasures = self.head, self._last, self.erasures
            read = await read_tail(connection, anchor=anchor, facts_max=POLL_FACTS_MAX, bytes_max=POLL_BYTES_MAX)
            if read.epoch != self.epoch:
                await self._begin(connection)
                return True
            if self.forked_after is not None:
                return False
            if not continues(read.facts, mark):
                await self._fork(connection)
                return False
            # What this process published meanwhile is in the ring already.
            new = [fact for fact in read.facts if fact.position > self.head]
            ready = await self._opened(connection, new)
        if erasures != self.erasures:
            return True  # something was erased that this look may have seen
        if read.erasures != self.erasures:
            self._forget(read.erasures)
        self._take(new, ready)
        return len(new) > 0

    def _take(self, new: Sequence[TailFact], ready: Sequence[TailFact] | None) -> None:
        """Put what is new into the ring, as far as it is ready."""
        if not new:
            self._at_head_at = asyncio.get_running_loop().time()
        elif ready is None:
            self._pass_over(new[-1])
        else:
            self._extend(segments([fact for fact in ready if fact.position > self.head]))

    async def _opened(self, connection: Connection, facts: Sequence[TailFact]) -> Sequence[TailFact] | None:
        """The facts with their payloads, as many as fit; None where this process cannot open one of them."""
        try:
            return await open_tail(connection, facts, bytes_max=POLL_BYTES_MAX, master_keys=self._database.master_keys)
        except (KeyUnavailable, InternalError) as error:
            log.error("facts up to position %d cannot be opened: %s", facts[-1].position, error.detail)
            return None

    def _pass_over(self, last: TailFact) -> None:
        """Leave out facts that cannot be opened: who wants one of them reads history, and is told there."""
        if last.position > self.head:
            self.ring.reset(last.position, epoch=self.epoch)
            self._last = mark_of(last)
            self.wake()

    def _extend(self, added: Sequence[Segment]) -> None:
        if not added:
            return
        for segment in added:
            self.ring.extend(segment)
            if self._on_extended is not None:
                self._on_extended(segment)
        self._last = Mark(added[-1].facts[-1].id, added[-1].published_at)
        self.wake()

    async def _begin(self, connection: Connection) -> None:
        """Begin at the head, as at the start of the process and of each epoch."""
        state = await resolve(connection, "head")
        read = await read_tail(connection, anchor=state.head, facts_max=0, bytes_max=POLL_BYTES_MAX)
        if self.started:
            log.warning("epoch %d began at position %d", state.epoch, state.head)
        self.epoch = state.epoch
        self.erasures = read.erasures
        self.forked_after = None
        self.ring.reset(state.head, epoch=state.epoch)
        self._last = mark_of(read.facts[0]) if read.facts else None
        self.wake()

    async def _fork(self, connection: Connection) -> None:
        seen = self.ring.marks()
        stored = dict(await read_marks(connection, [position for position, _ in seen]))
        parted = next((position for position, mark in seen if stored.get(position) == mark), START)
        log.error("history was replaced after position %d; raise the epoch to go on", parted)
        self.forked_after = parted
        self.forks += 1
        self.ring.reset(parted, epoch=self.epoch)
        self._last = None
        self.wake()


def continues(facts: Sequence[TailFact], mark: Mark | None) -> bool:
    """Whether the fact at the last position is still the one that was seen there.

    After a fail-over that lost commits, or a restore, positions repeat with other facts. Their number alone would
    not show it, and a stream would go on in a history that its client has never seen the beginning of. Nor would the
    id alone: a publish in doubt that is repeated after a fail-over may find its old position free, behind other facts.
    """
    return mark is None or (len(facts) > 0 and mark_of(facts[0]) == mark)


def mark_of(fact: TailFact) -> Mark:
    return Mark(fact.id, fact.published_at)
