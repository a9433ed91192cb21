"""The publisher of a process: gathers requests while a call is under way and appends them all with the next one."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from time import perf_counter
from typing import cast

import asyncpg

from app.domain import errors
from app.domain.condition import Condition
from app.domain.errors import FactwireError, InternalError, OutcomeUnknown, Unavailable
from app.domain.fact import NewFact
from app.domain.position import Position
from app.store import appending
from app.store.appending import Appended
from app.store.database import CONNECTION_FAILURES, Database
from app.store.rights import lacking_rights
from app.stream.grouping import GROUP_REQUESTS_MAX, Group, Outcome, Published, Request
from app.stream.sealing import Sealing
from app.stream.settling import Settling, replay_or_conflict
from app.telemetry.logs import said
from app.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

TELL_SECONDS = 10.0

OUTCOMES = (
    "published",
    "replayed",
    "abandoned",
    *(
        error.code
        for error in (
            errors.FactIdConflict,
            errors.ConditionFailed,
            errors.ConditionTooExpensive,
            errors.CursorForked,
            errors.CursorAhead,
            errors.DataSubjectErased,
            errors.Unavailable,
            errors.OutcomeUnknown,
            errors.InternalError,
        )
    ),
)


class Publisher:
    """Appends the facts of all requests of this process, one call at a time.

    It refuses them all until `lock_proved`: a lock that excludes nobody would not order the log.
    """

    def __init__(
        self,
        database: Database,
        *,
        wait_seconds: float,
        waiting_requests_max: int,
        waiting_bytes_max: int,
        condition_seconds: float,
        on_appended: Callable[[Appended, Sequence[NewFact]], None] = lambda appended, facts: None,
        metrics: Metrics | None = None,
        lock_proved: bool = True,
    ) -> None:
        self.lock_proved = lock_proved
        self._wait_seconds = wait_seconds
        self._waiting_requests_max = waiting_requests_max
        self._waiting_bytes_max = waiting_bytes_max
        self._on_appended = on_appended
        self._metrics = metrics or Metrics()
        self._queue: deque[Request] = deque()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._settling = Settling(database, condition_seconds=condition_seconds, retry=self._retry)
        self._waiting_requests = 0
        self._waiting_bytes = 0
        self._sealing = Sealing(database)
        self._connection = database.appending.keeper()
        self._database = database
        self._refused = 0
        self._reason = ""
        self._told_at = 0.0

    @property
    def waiting(self) -> int:
        """Publishes under way."""
        return self._waiting_requests

    async def publish(self, facts: Sequence[NewFact], condition: Condition | None = None) -> Published:
        """Publish facts together. Raises FactwireError; each says whether the facts are certainly not written."""
        waiting = asyncio.get_running_loop().create_future()
        request = self.submit(facts, condition, partial(tell, waiting))
        try:
            outcome: Outcome = await waiting
        finally:
            request.end(None)
        if isinstance(outcome, FactwireError):
            raise outcome
        return outcome

    async def publish_each(self, facts: Sequence[NewFact]) -> list[Outcome]:
        """Publish facts one by one, in order but in few calls, up to the first that is refused.

        Each has its own outcome; no two share an id. What is stored already is looked up first, so that nothing
        behind a conflict is written. (A conflict with a fact that another publisher stores in this very moment is
        noticed by the call itself, and the facts behind it are then written all the same.)
        """
        facts, refusal = await self._sealing.seal_first(facts)
        known = await self._settling.known_facts([fact for fact in facts if fact.chosen_id])
        waiting: list[asyncio.Future[Outcome]] = []
        requests: list[Request] = []
        for fact in facts:
            outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            waiting.append(outcome)
            if fact.id in known:
                tell(outcome, replay_or_conflict([fact], known))
            else:
                requests.append(self.submit([fact], None, partial(tell, outcome)))
            if outcome.done() and isinstance(outcome.result(), FactwireError):
                break
        else:
            if refusal is not None:
                waiting.append(asyncio.get_running_loop().create_future())
                tell(waiting[-1], refusal)
        try:
            return await asyncio.gather(*waiting)
        finally:
            for request in requests:
                request.end(None)

    def submit(self, facts: Sequence[NewFact], condition: Condition | None, tell: Callable[[Outcome], None]) -> Request:
        """Publish facts together, and tell the outcome when it is known: perhaps before this returns.

        `tell` must not raise: it is called between the outcomes of other requests.
        """
        # The loop's clock counts whole milliseconds: enough for limits, too coarse to measure with.
        give_up_at = asyncio.get_running_loop().time() + self._wait_seconds
        request = Request(facts, condition, tell, self._forget, perf_counter(), give_up_at)
        self._waiting_requests += 1
        self._waiting_bytes += request.bytes
        self._idle.clear()
        if not self.lock_proved:
            request.end(Unavailable("The lock of the database that orders the log is not proved yet."))
        elif self._waiting_requests > self._waiting_requests_max or self._waiting_bytes > self._waiting_bytes_max:
            request.end(Unavailable("Too many publishes are waiting."))
        elif any([fact.data_subject and not fact.seal for fact in facts]):
            self._settling.settle_later([request], self._seal(request))
        else:
            self._queue.append(request)
            self._arrived.set()
        return request

    async def _seal(self, request: Request) -> None:
        """Let a request wait for its turn as soon as its payloads are sealed."""
        request.facts = await self._sealing.seal(request.facts)
        self._queue.append(request)
        self._arrived.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with aclosing(self._connection), self._settling.running():
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while group := self._next_group():
                    await self._append(group.requests)

    async def drain(self) -> None:
        """Wait until no request is under way. The caller sets the time limit and lets no new ones in."""
        await self._idle.wait()

    def _retry(self, request: Request) -> None:
        """Let a request go first in the next call."""
        self._queue.appendleft(request)
        self._arrived.set()

    def _forget(self, request: Request, outcome: Outcome | None) -> None:
        self._waiting_requests -= 1
        self._waiting_bytes -= request.bytes
        if not self._waiting_requests:
            self._idle.set()
        self._metrics.publish_ended(word_for(outcome), perf_counter() - request.arrived_at)
        if outcome is not None:
            request.tell(outcome)

    def _next_group(self) -> Group | None:
        """Take the next requests off the queue; those that must follow them stay at its front, in their order."""
        if not self._queue:
            return None
        group = Group()
        later: list[Request] = []
        now = asyncio.get_running_loop().time()
        while self._queue and group.has_room_for(self._queue[0]) and len(later) < GROUP_REQUESTS_MAX:
            request = self._queue.popleft()
            if request.ended:
                continue
            if request.give_up_at < now:
                request.end(Unavailable("The publish waited too long for its turn."))
            elif group.must_precede(request):
                later.append(request)
            else:
                group.add(request)
        self._queue.extendleft(reversed(later))
        return group

    async def _append(self, requests: list[Request]) -> None:
        if not requests:
            return
        began_at = perf_counter()
        try:
            async with self._connection.lent() as connection:
                appended = await appending.append(connection, [(r.facts, r.condition) for r in requests])
            facts = self._settle_all(requests, appended)
        except Exception as error:
            await self._refuse_all(requests, error)
        else:
            self._metrics.group_appended(
                facts=len(facts),
                wait_seconds=began_at - min(request.arrived_at for request in requests),
                append_seconds=perf_counter() - began_at,
            )
            if facts:
                self._on_appended(appended, facts)

    def _settle_all(self, requests: list[Request], appended: Appended) -> list[NewFact]:
        """Tell each request its outcome; the facts that were appended, in order."""
        facts: list[NewFact] = []
        known: list[Request] = []
        again: list[Request] = []
        for index, request in enumerate(requests):
            refused = appended.refused.get(index)
            if refused is None:
                first = appended.head + len(facts) + 1
                positions = cast(Sequence[Position], range(first, first + len(request.facts)))
                facts += request.facts
                ids = [fact.id for fact in request.facts]
                request.end(Published(ids, positions, appended.epoch, appended.published_at))
            elif refused.refusal is appending.Refusal.KNOWN:
                known.append(request)
            elif refused.refusal is appending.Refusal.AGAIN:
                again.append(request)
            else:
                self._settling.refuse(request, refused, appended.epoch)
        self._queue.extendleft(reversed(again))
        if known:
            self._settling.compare(known)
        return facts

    async def _refuse_all(self, requests: list[Request], error: Exception) -> None:
        """Tell each request what the failure of its call means for it."""
        refusal = refusal_of(error)
        if refusal is None and len(requests) > 1:
            # One of them carries something that the checks did not foresee: the others must not suffer for it.
            for request in requests:
                await self._append([request])
            return
        if refusal is None:
            log.error("a publish failed", exc_info=error)
            refusal = InternalError("The facts were not published.")
        else:
            await self._tell_refused(len(requests), refusal, error.__cause__ or error)
        for request in requests:
            unknown = isinstance(refusal, OutcomeUnknown)
            request.end(OutcomeUnknown([str(fact.id) for fact in request.facts]) if unknown else refusal)

    async def _tell_refused(self, count: int, refusal: FactwireError, cause: BaseException) -> None:
        """Log why publishes are refused, once in a while for as long as it is the same reason."""
        reason = f"{refusal.code}: {said(cause)}"
        self._refused = count if reason != self._reason else self._refused + count
        if reason != self._reason or perf_counter() > self._told_at + TELL_SECONDS:
            log.warning("%d publishes were refused as %s%s", self._refused, reason, await self._remedy(cause))
            self._refused, self._reason, self._told_at = 0, reason, perf_counter()

    async def _remedy(self, cause: BaseException) -> str:
        """Which rights are missing, where that is the cause."""
        if isinstance(cause, asyncpg.InsufficientPrivilegeError):
            with suppress(Unavailable):
                async with self._database.reading.reading() as connection:
                    lacking = await lacking_rights(connection)
                if lacking and lacking.grants:
                    return f"; as {lacking.owner}: {'; '.join(lacking.grants)}"
        return ""


def tell(waiting: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not waiting.done():
        waiting.set_result(outcome)


def word_for(outcome: Outcome | None) -> str:
    """How a publish ended, in one word of the metrics."""
    if outcome is None:
        return "abandoned"
    if isinstance(outcome, FactwireError):
        return outcome.code
    return "replayed" if outcome.replayed else "published"


def refusal_of(error: Exception) -> FactwireError | None:
    """What the failure of a call means for each of its requests; None where the database objects to what they carry."""
    if isinstance(error, Unavailable):
        return error
    if not appending.is_certainly_not_written(error):
        return OutcomeUnknown()
    if isinstance(error, (*CONNECTION_FAILURES, asyncpg.QueryCanceledError, asyncpg.CheckViolationError)):
        return Unavailable("The database could not take the facts.")
    return None
