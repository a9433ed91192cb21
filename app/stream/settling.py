"""Settling: requests that the call refused, and that need one more look at the database to be told why."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from app.domain.errors import (
    ConditionFailed,
    ConditionTooExpensive,
    CursorAhead,
    CursorForked,
    DataSubjectErased,
    FactIdConflict,
    FactwireError,
    InternalError,
    LogDamaged,
    OutcomeUnknown,
    Unavailable,
)
from app.domain.fact import NewFact
from app.domain.position import Cursor, Position
from app.store import appending
from app.store.appending import KnownFact, Refusal, Refused
from app.store.database import Database
from app.stream.grouping import Published, Request
from app.stream.sealing import Sealing

log = logging.getLogger(__name__)

SLOW_CONDITIONS_MAX = 2


class Settling:
    """Finds out, while the next call is under way, what refused requests are to be told."""

    def __init__(
        self, database: Database, sealing: Sealing, *, condition_seconds: float, retry: Callable[[Request], None]
    ) -> None:
        self._database = database
        self._sealing = sealing
        self._condition_seconds = condition_seconds
        self._retry = retry
        self._slow = asyncio.Semaphore(SLOW_CONDITIONS_MAX)
        self._tasks: asyncio.TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While it runs, requests may be refused; what is still being settled ends with it."""
        async with asyncio.TaskGroup() as self._tasks:
            yield

    def refuse(self, request: Request, refused: Refused, epoch: int) -> None:
        """Tell a request why it was refused, at once where that is known."""
        match refused.refusal:
            case Refusal.FAILED:
                self.settle_later([request], self._name_conflict(refused))
            case Refusal.SLOW:
                self.settle_later([request], self._search_without_lock(request))
            case Refusal.FORKED:
                request.end(CursorForked(epoch=epoch))
            case Refusal.AHEAD:
                request.end(CursorAhead(epoch=epoch, head=refused.position or 0))
            case Refusal.ERASED:
                request.end(DataSubjectErased(next(fact.data_subject for fact in request.facts if fact.data_subject)))
            case Refusal.UNKEYED:
                self.settle_later([request], self._seal_anew(request))

    def compare(self, requests: list[Request]) -> None:
        """Tell which requests are retries of what is stored, and which use its ids for something else."""
        self.settle_later(requests, self._compare(requests))

    async def known_facts(self, facts: Sequence[NewFact]) -> dict[str, KnownFact]:
        """What is stored under the ids of some facts. Raises OutcomeUnknown where it may not be kept."""
        if not facts:
            return {}
        async with self._database.reading.reading() as connection:
            known = await appending.known_facts(connection, [fact.id for fact in facts])
        if known:
            await self._make_sure()
        return known

    async def _make_sure(self) -> None:
        """Wait until what is stored is kept, as a commit of its own would.

        The wait for its synchronous standby may have been cancelled: that a retry finds it proves nothing.
        """
        try:
            async with aclosing(self._database.reading.keeper()) as keeper, keeper.lent() as connection:
                await appending.wait_for_standby(connection)
        except Exception as error:
            # Not Unavailable, either: that would say that nothing is written.
            log.warning("whether known facts are kept is in doubt: %s", type(error).__name__)
            raise OutcomeUnknown() from error

    def settle_later(self, requests: list[Request], settling: Coroutine[None, None, None]) -> None:
        """Settle requests that need one more look at the database, while the next call is under way."""

        async def settle() -> None:
            try:
                await settling
            except Exception as error:
                refusal = error if isinstance(error, FactwireError) else InternalError("The publish failed.")
                if refusal is not error:
                    log.error("settling a publish failed", exc_info=error)
                for request in requests:
                    unknown = isinstance(refusal, OutcomeUnknown)
                    request.end(OutcomeUnknown([fact.id for fact in request.facts]) if unknown else refusal)

        assert self._tasks is not None
        self._tasks.create_task(settle())

    async def _compare(self, requests: list[Request]) -> None:
        """Compare what requests carry with what append has just found stored: that nothing is written is never said."""
        facts = [await self._as_stored(request) for request in requests]
        try:
            known = await self.known_facts([fact for each in facts for fact in each])
        except Unavailable as error:
            raise OutcomeUnknown() from error
        for request, each in zip(requests, facts, strict=True):
            if any(fact.id in known for fact in each):
                request.end(replay_or_conflict(each, known))
            else:
                request.end(OutcomeUnknown([fact.id for fact in each]))

    async def _as_stored(self, request: Request) -> Sequence[NewFact]:
        """The facts of a request, sealed with the keys that are stored by now where it had made new ones."""
        if not any(fact.new_key for fact in request.facts) or not request.unsealed:
            return request.facts
        try:
            return await self._sealing.seal(request.unsealed)
        except FactwireError as error:
            request.end(OutcomeUnknown([f.id for f in request.facts]) if isinstance(error, Unavailable) else error)
            return request.facts

    async def _seal_anew(self, request: Request) -> None:
        """Somebody else has stored a key for the same data subject meanwhile."""
        if not request.unsealed:
            raise Unavailable("The key of a data subject was replaced meanwhile.")
        request.facts = await self._sealing.seal(request.unsealed)
        self._retry(request)

    async def _name_conflict(self, refused: Refused) -> None:
        assert refused.position is not None
        async with self._database.reading.reading() as connection:
            fact_id = await appending.fact_id_at(connection, refused.position)
        raise condition_failed(refused.position, fact_id)

    async def _search_without_lock(self, request: Request) -> None:
        """Evaluate an expensive condition outside the lock, then let the call check only what came since."""
        assert request.condition is not None
        after = request.condition.after
        query = request.condition.fail_if_match
        deadline = time.monotonic() + self._condition_seconds
        async with self._slow, self._database.reading.reading() as connection:
            while not request.ended and asyncio.get_running_loop().time() < request.give_up_at:
                found = await appending.first_match(connection, query, after=after.position)
                if after.epoch not in (0, found.epoch):
                    after = request.condition.after  # the call says what became of its epoch
                    break
                # With its epoch: were history lost and replaced before the append, what was searched would not count.
                after = Cursor(found.epoch, found.through)
                if found.position is not None:
                    fact_id = await appending.fact_id_at(connection, found.position)
                    raise condition_failed(found.position, fact_id)
                if found.through >= found.head:
                    break
                if time.monotonic() > deadline:
                    detail = f"The condition took longer than {self._condition_seconds} s. Give a later `after`."
                    raise ConditionTooExpensive(detail)
        request.condition = replace(request.condition, after=after)
        self._retry(request)


def condition_failed(position: Position, fact_id: str | None) -> FactwireError:
    if fact_id is None:
        return LogDamaged(f"The fact at position {position} is missing.")
    return ConditionFailed(position, fact_id)


def replay_or_conflict(facts: Sequence[NewFact], known: Mapping[str, KnownFact]) -> Published | FactIdConflict:
    """Where the facts of a retried request stand, or in what it is none. At least one of them is known."""
    gone = [fact.id for fact in facts if fact.id in known and known[fact.id].redacted]
    if gone:
        # Whether the content is the same is not told: it would let what was taken away be guessed.
        return FactIdConflict(gone, detail="The content of these ids was redacted. Nothing was written.")
    other = [str(fact.id) for fact in facts if fact.id in known and known[fact.id].digest != fact.digest]
    if other:
        return FactIdConflict(other, detail="These ids are stored with other content. Nothing was written.")
    stored = [known[fact.id] for fact in facts if fact.id in known]
    if len(stored) < len(facts):
        ids = [str(fact.id) for fact in facts if fact.id in known]
        return FactIdConflict(ids, detail="Only these of the facts are stored already. Nothing was written.")
    last = max(stored, key=lambda fact: fact.position)
    positions = [fact.position for fact in stored]
    return Published([fact.id for fact in facts], positions, last.epoch, last.published_at, replayed=True)
