"""Publisher of a process (group commit): collects requests during one append call, then appends them in the next."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from time import perf_counter
from typing import cast

import asyncpg

from factwire.domain.condition import Condition
from factwire.domain.effect import Effect
from factwire.domain.errors import (
    DataSubjectErased,
    FactIdConflict,
    FactNotFound,
    FactwireError,
    HistoryForked,
    InternalError,
    OutcomeUnknown,
    Unavailable,
)
from factwire.domain.fact import NewFact
from factwire.domain.position import Position
from factwire.follow.tail import ON_STANDBY, Tail
from factwire.publish.backlog import Backlog
from factwire.publish.batch import GROUP_POSTINGS_MAX, AppendBatch, Outcome, Published, Request
from factwire.publish.condition_bounds import resolve_bounds
from factwire.publish.encryption import PayloadEncryption, needs_seal
from factwire.publish.fair_queue import DROP, HOLD, STOP, TAKE, FairQueue, QueueTurn
from factwire.publish.outcomes import outcome_label, outcomes_of_known, refusal_of, split_outcome
from factwire.publish.refusal_log import RefusalLog
from factwire.publish.refusals import WAITED_TOO_LONG, Refusals
from factwire.store import append
from factwire.store.append import NO_LIMITS, Appended, CatalogueLimits
from factwire.store.held_connection import HeldConnection
from factwire.store.pools import Pools, damage_of
from factwire.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

NOTICE_SECONDS = 2.0
LOOKS_MAX = 10
DEFERRED_SECONDS = 0.01
REQUEST_BYTES_MAX = 8 * 1024 * 1024  # of one request, with its condition
COST_OF_A_SECOND = 1 / 3.2e-6  # in postings, as measured for the design
TOO_MANY = (
    "Too many publishes are waiting: FACTWIRE_PUBLISHES_WAITING_MAX and FACTWIRE_PUBLISH_BYTES_WAITING_MAX bound them, "
    "and half of that for each principal."
)


class Publisher:
    """Appends the facts of all requests of this process, one call at a time.

    `require_lock` raises Unavailable until it is proved that the advisory lock, which orders the log, excludes other
    writers.
    """

    def __init__(
        self,
        pools: Pools,
        *,
        wait_seconds: float,
        waiting_requests_max: int,
        waiting_bytes_max: int,
        condition_seconds: float,
        group_postings_max: int = GROUP_POSTINGS_MAX,
        tail: Tail | None = None,
        on_appended: Callable[[Appended, Sequence[NewFact]], None] = lambda appended, facts: None,
        metrics: Metrics | None = None,
        require_lock: Callable[[], Awaitable[None]] | None = None,
        limits: CatalogueLimits = NO_LIMITS,
    ) -> None:
        self._limits = limits
        self._require_lock = require_lock
        self._wait_seconds = wait_seconds
        self._group_postings_max = group_postings_max
        self._tail = tail
        self._on_appended = on_appended
        self._metrics = metrics or Metrics()
        self._queue = FairQueue()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._sealing = PayloadEncryption(pools)
        self._refusals = Refusals(
            pools,
            self._sealing,
            condition_seconds=condition_seconds,
            wait_seconds=wait_seconds,
            retry=self._retry,
            limits=limits,
        )
        self._backlog = Backlog(
            requests_max=waiting_requests_max, bytes_max=waiting_bytes_max, request_bytes_max=REQUEST_BYTES_MAX
        )
        self._connection = HeldConnection(pools.append)
        self._pools = pools
        self._refusal_log = RefusalLog(pools)

    @property
    def waiting(self) -> int:
        """Number of publishes under way."""
        return self._backlog.requests

    async def publish(
        self,
        facts: Sequence[NewFact],
        condition: Condition | None = None,
        *,
        tenant: str = "",
        next_id: str = "",
        effects: Sequence[Effect] = (),
    ) -> Published:
        """Publish facts together. Raises FactwireError; each error says if the facts are certainly not written."""
        waiting = asyncio.get_running_loop().create_future()
        on_outcome = partial(set_outcome, waiting)
        request = self.submit(facts, condition, on_outcome, tenant=tenant, next_id=next_id, effects=effects)
        try:
            outcome: Outcome = await waiting
        finally:
            request.abandon()
        if isinstance(outcome, FactwireError):
            raise outcome
        return outcome

    async def publish_in_order(self, facts: Sequence[NewFact], *, tenant: str = "") -> list[Outcome]:
        """Publish facts up to the first that is refused, and return the outcomes up to that one. No two share an id.

        Facts that are stored already keep their positions. All others are appended together or not at all, so that
        nothing after a refused fact is ever submitted. If another publisher stores one of their ids at the same time,
        or erases a data subject, the attempt is repeated.
        """
        if self._tail is not None:
            self._tail.refuse_on_standby()  # on a standby it is also unknown if stored facts are durable
            self._tail.refuse_fork()  # if all facts are known, no append call follows to detect it
        for _ in range(LOOKS_MAX):
            ready, refusal = await self._sealing.seal_until_refused(facts)
            known = await self._refusals.known_facts([fact for fact in ready if fact.chosen_id])
            if any(fact.new_key and fact.id in known for fact in ready):
                continue  # stored in the meantime, sealed with another key
            outcomes, refusal = outcomes_of_known(ready, known, otherwise=refusal)
            new = [fact for fact, outcome in zip(facts, outcomes, strict=False) if outcome is None]
            try:
                published = await self.publish(new, tenant=tenant) if new else None
            except (FactIdConflict, DataSubjectErased):
                continue
            except FactwireError as error:
                # The new fact at fault is not known. None of them is written, unless the outcome is unknown.
                outcomes, refusal, published = outcomes[: outcomes.index(None)], error, None
            placed = iter([] if published is None else split_outcome(published))
            settled: list[Outcome] = [next(placed) if outcome is None else outcome for outcome in outcomes]
            return settled if refusal is None else [*settled, refusal]
        raise Unavailable("Others publish the same ids, again and again.")

    def submit(
        self,
        facts: Sequence[NewFact],
        condition: Condition | None,
        on_outcome: Callable[[Outcome], None],
        *,
        tenant: str = "",
        next_id: str = "",
        effects: Sequence[Effect] = (),
    ) -> Request:
        """Publish facts together. `on_outcome` is called when the outcome is known, perhaps before this returns.

        It must not raise: it is called between the outcomes of other requests. Requests of one `tenant` keep their
        order, and take turns with those of other tenants; see FairQueue.
        """
        # The loop's clock counts whole milliseconds: enough for time limits, too coarse for measurements.
        give_up_at = asyncio.get_running_loop().time() + self._wait_seconds
        finish = partial(self._finish, on_outcome)
        request = Request(facts, condition, perf_counter(), give_up_at, tenant, finish, next_id, effects)
        fits = self._backlog.enter(request)
        refusal = self._refusal_at_once() or (None if fits else Unavailable(TOO_MANY))
        self._idle.clear()
        if refusal is not None:
            request.end(refusal)
        elif needs_seal(facts) or (condition is not None and condition.unresolved):
            self._refusals.spawn([request], self._prepare(request))
        else:
            self._queue.append(request)
            self._arrived.set()
        return request

    def _refusal_at_once(self) -> FactwireError | None:
        """Refusal of every request at present, on a standby or after a fork; None if requests may wait for a turn."""
        if self._tail is not None and self._tail.on_standby:
            return Unavailable(ON_STANDBY)
        if self._tail is not None and self._tail.fork is not None:
            return HistoryForked(forked_after=self._tail.fork.after)
        return None

    async def _prepare(self, request: Request) -> None:
        """Seal the payloads of a request and resolve the bounds of its condition, then put it into the queue."""
        if needs_seal(request.facts):
            request.unsealed = request.facts
            request.facts = await self._sealing.seal(request.unsealed)
        if request.condition is not None and request.condition.unresolved:
            try:
                request.condition = await resolve_bounds(self._pools, request.condition, request.tenant)
            except FactNotFound:
                if not await self._refusals.is_known(request):
                    raise
                self._refusals.compare([request])  # a retry is one whatever its condition
                return
        self._queue.append(request)
        self._arrived.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with aclosing(self._connection), self._refusals.running():
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while group := self._next_group():
                    await self._append(group.requests)

    async def drain(self) -> None:
        """Wait until no request is under way. The caller sets the time limit and admits no new requests."""
        await self._idle.wait()

    def _retry(self, request: Request) -> None:
        """Put a request back into the queue, before the others of its tenant."""
        self._queue.return_first(request)
        self._arrived.set()

    def _finish(self, on_outcome: Callable[[Outcome], None], request: Request, outcome: Outcome | None) -> None:
        self._backlog.leave(request)
        if request.slow_turns:
            # Not earlier: while it waited for its cost, more facts would arrive that its condition must check.
            cost = request.slow_turns * append.UNDER_LOCK_SECONDS * COST_OF_A_SECOND
            self._queue.charge(request.tenant, cost)
        if not self._backlog.requests:
            self._idle.set()
        self._metrics.publish_ended(outcome_label(outcome), perf_counter() - request.arrived_at)
        if outcome is not None:
            on_outcome(outcome)

    def _next_group(self) -> AppendBatch | None:
        """Take as many requests off the queue as one call may append. None if no request waits."""
        if not self._queue:
            return None
        group = AppendBatch(self._group_postings_max)
        now = asyncio.get_running_loop().time()

        def decide_turn(request: Request) -> QueueTurn:
            if request.ended:
                return DROP
            if request.give_up_at < now:
                request.end(Unavailable(WAITED_TOO_LONG))
                return DROP
            if not group.has_room_for(request):
                return STOP
            if group.must_precede(request):
                return HOLD
            group.add(request)
            return TAKE

        self._queue.take(decide_turn)
        return group

    async def _append(self, requests: list[Request]) -> None:
        if not requests:
            return
        began_at = perf_counter()
        try:
            appended = await self._append_once(requests)
            kept = [request for place, request in enumerate(requests) if place not in appended.refused]
            facts = [fact for request in kept for fact in request.facts]
            if facts:  # streams before publishers: an answer takes as long to send as a push
                self._notify_appended(appended, facts)
            self._set_outcomes(requests, appended)
        except Exception as error:
            await self._refuse_all(requests, error)
        else:
            self._metrics.group_appended(
                facts=len(facts),
                wait_seconds=began_at - min(request.arrived_at for request in requests),
                append_seconds=perf_counter() - began_at,
            )
        finally:
            if requests[0].alone:
                self._queue.charge(requests[0].tenant, (perf_counter() - began_at) * COST_OF_A_SECOND)

    async def _append_once(self, requests: list[Request]) -> Appended:
        """Call append once. A request that goes alone has less time, since all others wait for it."""
        if self._require_lock is not None:
            await self._require_lock()
        witness = None
        if self._tail is not None:
            # Requests from before the fork detection may still wait, and the detection may not be stored yet.
            self._tail.refuse_fork()
            witness = self._tail.witness
        effects = [request.effects for request in requests]
        async with self._connection as connection:
            call = append.append_in_time if requests[0].alone else append.append
            return await call(
                connection,
                [(request.facts, request.condition) for request in requests],
                witness=witness,
                principals=[request.tenant for request in requests],
                limits=self._limits,
                effects=effects if any(effects) else (),
            )

    def _notify_appended(self, appended: Appended, facts: Sequence[NewFact]) -> None:
        """Pass stored facts on to streams. A failure there is only logged: the publishers have their outcomes."""
        try:
            self._on_appended(appended, facts)
        except Exception:
            log.exception("published facts could not be passed on to streams")

    def _set_outcomes(self, requests: list[Request], appended: Appended) -> None:
        """Report its outcome to each request, or have it settled."""
        first = appended.head + 1
        known: list[Request] = []
        again: list[Request] = []
        for index, request in enumerate(requests):
            refused = appended.refused.get(index)
            if refused is None:
                positions = cast(Sequence[Position], range(first, first + len(request.facts)))
                first += len(request.facts)
                ids = [fact.id for fact in request.facts]
                request.end(Published(ids, positions, appended.epoch, appended.published_at))
            elif refused.refusal is append.Refusal.KNOWN:
                known.append(request)
            elif refused.refusal is append.Refusal.AGAIN and request.effects:
                # Others hold the row of an effect. Without a pause, a request alone would ask all the time.
                asyncio.get_running_loop().call_later(DEFERRED_SECONDS, self._retry, request)
            elif refused.refusal is append.Refusal.AGAIN:
                again.append(request)
            else:
                request.slow_turns += refused.refusal is append.Refusal.SLOW
                self._refusals.refuse(request, refused, appended)
        for request in reversed(again):
            self._queue.return_first(request)
        if known:
            self._refusals.compare(known)

    async def _refuse_all(self, requests: list[Request], error: Exception) -> None:
        """Report a failure of an append call to each of its requests; retry some of them if that can help."""
        refusal = refusal_of(error)
        if isinstance(refusal, HistoryForked):
            refusal = await self._refusal_of_fork(refusal)
        if isinstance(error, asyncpg.QueryCanceledError) and await self._retry_without_conditions(requests):
            return
        if refusal is None and len(requests) > 1:
            # One request has content that the checks did not foresee: it must not fail the others.
            for request in requests:
                await self._append([request])
            return
        refusal = refusal or damage_of(error)
        if refusal is None:
            log.error("a publish failed", exc_info=error)
            refusal = InternalError("The facts were not published.")
        else:
            await self._refusal_log.note(len(requests), refusal, error.__cause__ or error)
        for request in requests:
            unknown = isinstance(refusal, OutcomeUnknown)
            request.end(OutcomeUnknown([str(fact.id) for fact in request.facts]) if unknown else refusal)

    async def _refusal_of_fork(self, forked: HistoryForked) -> FactwireError:
        """Have a fork stored before it is reported, so that no process publishes from then on."""
        if self._tail is None or await self._tail.detects_fork(seconds=NOTICE_SECONDS):
            return forked
        return Unavailable("History was replaced, and no process has stored that yet.")

    async def _retry_without_conditions(self, requests: list[Request]) -> bool:
        """After a call that took too long, append requests without a condition again; retry the others alone.

        Only a condition may take that long. False if there was nothing to separate.
        """
        suspects = [request for request in requests if request.condition is not None and not request.alone]
        if len(requests) == 1 or not suspects:
            return False
        for request in reversed(suspects):
            request.alone = True
            self._queue.return_first(request)
        await self._append([request for request in requests if not request.alone])
        return True


def set_outcome(waiting: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not waiting.done():
        waiting.set_result(outcome)
