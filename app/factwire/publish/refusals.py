"""Refusals: finds the reason of each refused request, or recognises it as a retry (idempotency by the ids of facts)."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from time import perf_counter

from factwire.domain.condition import WHOLE_LOG, Condition, Searched
from factwire.domain.effect import Acknowledgement
from factwire.domain.errors import (
    ConditionFailed,
    ConditionTooExpensive,
    CursorAhead,
    CursorForked,
    DataSubjectErased,
    EffectVoid,
    FactIdConflict,
    FactwireError,
    FieldError,
    InternalError,
    JobLeaseLost,
    LimitExceeded,
    LogDamaged,
    OutcomeUnknown,
    Unavailable,
)
from factwire.domain.fact import NewFact
from factwire.domain.position import Cursor, Position
from factwire.domain.subscription import LeasedFact
from factwire.domain.subscription_errors import EarlierOpen, LeaseLost
from factwire.publish.batch import Published, Request
from factwire.publish.encryption import PayloadEncryption
from factwire.store.append import NO_LIMITS, Appended, CatalogueLimits, Refusal, RefusedRequest
from factwire.store.condition_search import SearchProgress, search
from factwire.store.fair_semaphore import FairSemaphore
from factwire.store.held_connection import HeldConnection
from factwire.store.known_facts import KnownFact, fact_id_at, read_known_facts, wait_for_standby
from factwire.store.pools import Pools

log = logging.getLogger(__name__)

SLOW_CONDITIONS_MAX = 2
NAMES_LISTED = 3
NEW_MAX = 200  # facts that a call checks for an item of a condition in negligible time
KEY_OF_MORE = "The Idempotency-Key was used for a request with more facts. Nothing was written."
KEY_OF_OTHERS = "The Idempotency-Key was used for other facts. Nothing was written: use another key for new facts."
OTHER_CONTENT = "These ids are stored with other content. Nothing was written."
WAITED_TOO_LONG = "The publish waited too long for its turn."


class Refusals:
    """Finds the outcomes of refused requests, while the next append call is under way."""

    def __init__(
        self,
        pools: Pools,
        sealing: PayloadEncryption,
        *,
        condition_seconds: float,
        wait_seconds: float,
        retry: Callable[[Request], None],
        limits: CatalogueLimits = NO_LIMITS,
    ) -> None:
        self._limits = limits
        self._pools = pools
        self._sealing = sealing
        self._condition_seconds = condition_seconds
        self._retry = retry
        self._slow = FairSemaphore(SLOW_CONDITIONS_MAX, share=1, wait_seconds=wait_seconds, refusal=WAITED_TOO_LONG)
        self._tasks: asyncio.TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Context in which requests may be refused; tasks that still settle requests end with it."""
        async with asyncio.TaskGroup() as self._tasks:
            yield

    def refuse(self, request: Request, refused: RefusedRequest, appended: Appended) -> None:
        """Report the reason to a refused request, at once if it is known; or retry the request."""
        match refused.refusal:
            case Refusal.FAILED:
                self.spawn([request], self._name_conflict(request, refused, appended))
            case Refusal.SLOW:
                self.spawn([request], self._search_or_compare(request, refused, appended))
            case Refusal.UNKEYED:
                self.spawn([request], self._encrypt_again(request))
            case Refusal.RESTARTED | Refusal.FORKED if request.condition and request.condition.searched:
                # The search was on another history. The next call reports on the epoch that the client named.
                request.condition = replace(request.condition, searched=())
                self._retry(request)
            case _:
                request.end(self._decide_at_once(request, refused, appended))

    def _decide_at_once(self, request: Request, refused: RefusedRequest, appended: Appended) -> FactwireError:
        match refused.refusal:
            case Refusal.FORKED:
                return CursorForked(epoch=appended.epoch, forked_after=refused.position)
            case Refusal.AHEAD:
                return CursorAhead(epoch=appended.epoch, head=refused.position or 0)
            case Refusal.ERASED:
                return DataSubjectErased(next(fact.data_subject for fact in request.facts if fact.data_subject))
            case Refusal.LOST | Refusal.VOID | Refusal.UNLEASED | Refusal.EARLY:
                return refusal_of_effect(request, refused)
            case Refusal.TYPES:
                most = self._limits.namespace_types_max
                return catalogue_limit_exceeded("namespace_types_max", most, "types in a namespace", request)
            case Refusal.NAMESPACES:
                most = self._limits.principal_namespaces_max
                return catalogue_limit_exceeded(
                    "principal_namespaces_max", most, "namespaces begun by one principal", request
                )
        raise AssertionError(refused.refusal)

    async def is_known(self, request: Request) -> bool:
        """True if one of the ids of a request is stored already."""
        return bool(await self.known_facts([fact for fact in request.facts if fact.chosen_id]))

    def compare(self, requests: list[Request]) -> None:
        """Separate retries of stored facts from requests that use stored ids for other content."""
        self.spawn(requests, self._compare(requests))

    async def known_facts(self, facts: Sequence[NewFact]) -> dict[str, KnownFact]:
        """Facts stored under the ids of the given facts. Raises OutcomeUnknown if they may not be durable."""
        return await self.known_ids([fact.id for fact in facts])

    async def known_ids(self, ids: Sequence[str]) -> dict[str, KnownFact]:
        if not ids:
            return {}
        async with self._pools.read() as connection:
            known = await read_known_facts(connection, ids)
        if known:
            await self._make_sure()
        return known

    async def _make_sure(self) -> None:
        """Wait until stored facts are durable, as a commit of their own would.

        Their wait for the synchronous standby may have been cancelled: that a retry finds them proves nothing.
        """
        try:
            async with aclosing(HeldConnection(self._pools.reads)) as keeper, keeper as connection:
                await wait_for_standby(connection)
        except Exception as error:
            # Unavailable is not passed on either: it would say that nothing is written.
            log.warning("it is unknown if known facts are durable: %s", type(error).__name__)
            raise OutcomeUnknown() from error

    def spawn(self, requests: list[Request], refusals: Coroutine[None, None, None]) -> None:
        """Settle requests that need another database read, while the next append call is under way."""

        async def settle() -> None:
            try:
                await refusals
            except Exception as error:
                refusal = error if isinstance(error, FactwireError) else InternalError("The publish failed.")
                if refusal is not error:
                    log.error("resolving a refused publish failed", exc_info=error)
                for request in requests:
                    unknown = isinstance(refusal, OutcomeUnknown)
                    request.end(OutcomeUnknown([fact.id for fact in request.facts]) if unknown else refusal)

        assert self._tasks is not None
        self._tasks.create_task(settle())

    async def _compare(self, requests: list[Request]) -> None:
        """Compare requests with the facts that append just found stored. No failure says that nothing is written."""
        facts = [await self._with_stored_id(request) for request in requests]
        further = [request.next_id for request in requests if request.next_id]
        try:
            known = await self.known_ids([fact.id for each in facts for fact in each] + further)
        except Unavailable as error:
            raise OutcomeUnknown() from error
        for request, each in zip(requests, facts, strict=True):
            if request.next_id in known:
                request.end(FactIdConflict([fact.id for fact in each], detail=KEY_OF_MORE))
            elif any(fact.id in known for fact in each):
                request.end(replay_or_conflict(each, known, keyed=bool(request.next_id)))
            else:
                request.end(OutcomeUnknown([fact.id for fact in each]))

    async def _with_stored_id(self, request: Request) -> Sequence[NewFact]:
        """Facts of a request; sealed again with the keys that are stored now, if it had created new ones."""
        if not any(fact.new_key for fact in request.facts) or not request.unsealed:
            return request.facts
        try:
            return await self._sealing.seal(request.unsealed)
        except FactwireError as error:
            request.end(OutcomeUnknown([f.id for f in request.facts]) if isinstance(error, Unavailable) else error)
            return request.facts

    async def _encrypt_again(self, request: Request) -> None:
        """Seal a request again and retry it, since another one has stored a key for the same data subject."""
        if not request.unsealed:
            raise Unavailable("The key of a data subject was replaced meanwhile.")
        request.facts = await self._sealing.seal(request.unsealed)
        self._retry(request)

    async def _name_conflict(self, request: Request, refused: RefusedRequest, appended: Appended) -> None:
        head = Cursor(appended.epoch, appended.head)
        raise await self._condition_failed(request, refused.place, refused.position, head)

    async def _condition_failed(
        self, request: Request, place: int, position: Position | None, head: Cursor
    ) -> FactwireError:
        """Error that names the precondition, the fact that it forbids (None if one is missing), and the head."""
        assert request.condition is not None
        precondition = request.condition.preconditions[place]
        fact_id = None
        if position is not None:
            async with self._pools.read() as connection:
                fact_id = await fact_id_at(connection, position)
            if fact_id is None:
                return LogDamaged(f"The fact at position {position} is missing.")
        whole_log = precondition.after == WHOLE_LOG
        return ConditionFailed(precondition.pointer, position, fact_id, head_cursor=str(head), whole_log=whole_log)

    async def _search_or_compare(self, request: Request, refused: RefusedRequest, appended: Appended) -> None:
        """Search without the lock; but a request that is stored by now is a retry, whatever its condition.

        Append looks up ids before conditions, at one moment. Here the ids may have been stored since that look: by the
        attempt before, whose fact then matches the condition. Only what is unknown after the search is refused by it.
        """
        try:
            await self._search_without_lock(request, refused, appended)
        except FactwireError:
            if not await self.is_known(request):
                raise
            self.compare([request])

    async def _search_without_lock(self, request: Request, refused: RefusedRequest, appended: Appended) -> None:
        """Search for matches of an expensive condition without the lock, then retry with only new facts left to check.

        Each item has its own position up to which it is searched, so that the condition is decided while others
        publish. The time of the search counts towards its limit; the wait for a turn does not, and ends when the wait
        limit of the publisher is over.
        """
        condition = request.condition
        assert condition is not None
        condition = replace(condition, searched=searched_by_call(condition, refused, appended))
        while not request.ended:
            found = await self._search(request, condition, appended.epoch)
            condition = replace(condition, searched=tuple(found.searched))
            if found.epoch != appended.epoch:
                condition = replace(condition, searched=())  # the bounds were good in that epoch: the call looks again
                break
            open_at = [each.position for each in found.searched if not each.found]
            if found.searched and min(open_at, default=found.head) >= found.head - NEW_MAX:
                break
            if request.searched_seconds > self._condition_seconds:
                detail = f"The condition took longer than {self._condition_seconds} s. Give a later `after`."
                raise ConditionTooExpensive(detail)
        request.condition = condition
        self._retry(request)

    async def _search(self, request: Request, condition: Condition, epoch: int) -> SearchProgress:
        """Run one search statement. Raises ConditionFailed if it finds a match in this epoch, and Unavailable."""
        clock = asyncio.get_running_loop().time
        if clock() > request.give_up_at:
            raise Unavailable(WAITED_TOO_LONG)
        async with self._slow.turn(request.tenant), self._pools.read(request.tenant) as connection:
            began_at = perf_counter()
            found = await search(connection, condition)
            request.searched_seconds += perf_counter() - began_at
        if found.match is not None and found.epoch == epoch:
            raise await self._condition_failed(request, found.place, found.match, Cursor(epoch, found.head))
        return found


def searched_by_call(condition: Condition, refused: RefusedRequest, appended: Appended) -> tuple[Searched | None, ...]:
    """Progress of each item after a call that stopped at one of them: no item before it has a forbidden match.

    Of an item that needs a match, the call does not report the match: it is found again by the search.
    """
    head = Searched(appended.epoch, appended.head, appended.head_id)
    return tuple(
        head if place < refused.place and not each.must_match else condition.searched_at(place)
        for place, each in enumerate(condition.preconditions)
    )


def refusal_of_effect(request: Request, refused: RefusedRequest) -> FactwireError:
    if refused.refusal is Refusal.LOST:
        return JobLeaseLost()
    if refused.refusal is Refusal.VOID:
        return EffectVoid()
    error = EarlierOpen if refused.refusal is Refusal.EARLY else LeaseLost
    return error([unacknowledged(request, refused.position)], acknowledged=0)


def unacknowledged(request: Request, position: Position | None) -> str:
    """Lease of a fact that a request cannot acknowledge."""
    return next(
        str(LeasedFact(each.subscription, each.lease, position))
        for each in request.effects
        if isinstance(each, Acknowledgement) and position is not None and position in each.positions
    )


def catalogue_limit_exceeded(limit: str, maximum: int | None, what: str, request: Request) -> LimitExceeded:
    """Error for a limit of the catalogue, with the namespaces of the request: one of them exceeds the limit."""
    assert maximum is not None
    names = sorted({fact.namespace for fact in request.facts})
    listed = ", ".join(names[:NAMES_LISTED]) + (
        f" and {len(names) - NAMES_LISTED} more" if len(names) > NAMES_LISTED else ""
    )
    detail = f"there are at most {maximum} {what}; these facts are of {listed}"
    return LimitExceeded(limit, maximum, field=FieldError(detail, pointer="/facts"))


def replay_or_conflict(
    facts: Sequence[NewFact], known: Mapping[str, KnownFact], *, keyed: bool = False
) -> Published | FactIdConflict:
    """Positions of the facts of a retry, or the conflict if it is not a retry. At least one fact is known.

    `keyed` is True if an idempotency key gave the facts their ids.
    """
    gone = [fact.id for fact in facts if fact.id in known and known[fact.id].redacted]
    if gone:
        # No comparison of the content is reported: it would allow guesses at the redacted content.
        return FactIdConflict(gone, detail="The content of these ids was redacted. Nothing was written.")
    other = [str(fact.id) for fact in facts if fact.id in known and known[fact.id].digest != fact.digest]
    if other:
        return FactIdConflict(other, detail=KEY_OF_OTHERS if keyed else OTHER_CONTENT)
    stored = [known[fact.id] for fact in facts if fact.id in known]
    if len(stored) < len(facts):
        ids = [str(fact.id) for fact in facts if fact.id in known]
        return FactIdConflict(ids, detail="Only these of the facts are stored already. Nothing was written.")
    last = max(stored, key=lambda fact: fact.position)
    positions = [fact.position for fact in stored]
    return Published([fact.id for fact in facts], positions, last.epoch, last.published_at, replayed=True)
