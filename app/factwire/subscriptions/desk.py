"""Desk of a subscription: serves all its workers at this process, with one call to the database at a time."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from secrets import randbits
from time import perf_counter

import asyncpg

from factwire.domain.errors import FactwireError, Unavailable
from factwire.domain.position import Position
from factwire.domain.subscription import LeasedFact, Subscription
from factwire.domain.subscription_errors import SubscriptionNotFound
from factwire.follow.tail import Tail
from factwire.store.append import Witness
from factwire.store.pools import CONNECTION_FAILURES, Pools
from factwire.store.subscriptions.changes import Change
from factwire.store.subscriptions.claims import Candidates, Claim, ClaimOutcome, Return, claim_facts, return_facts
from factwire.store.subscriptions.definitions import read_subscription
from factwire.store.subscriptions.matches import list_facts_at
from factwire.subscriptions.candidates import AHEAD_BYTES_MAX, AHEAD_FACTS_MAX, Buffered, CandidateBuffer, first_bodies
from factwire.subscriptions.failures import failure_of, failure_of_claim
from factwire.subscriptions.match_watch import MatchWatch
from factwire.subscriptions.waiting import AckResult, ClaimedFact, ClaimResult, WaitingAck, WaitingClaim
from factwire.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

LEASE_BITS = 63
CLAIMS_MAX = 100  # in one call
ACKNOWLEDGEMENTS_MAX = 2000
SEARCH_SECONDS = 0.5
FORK_SECONDS = 2.0
SCANNED_MAX = 10_000  # positions without a match after which the cursor is stored all the same


@dataclass(slots=True)
class Known:
    """State of a subscription after the last call."""

    seq: int = -1
    ready: int = 0
    open: int = 0
    limited: bool = False


class Desk:
    """Collects the claims and acknowledgements of the workers during one call, and passes them on in the next.

    A claim for which there is nothing waits here, without a connection: for a new match, for a change by another
    process, or for its time to be over.
    """

    def __init__(
        self,
        pools: Pools,
        tail: Tail,
        watch: MatchWatch,
        subscription: Subscription,
        *,
        aside_max: int,
        buffered: Buffered,
        metrics: Metrics,
    ) -> None:
        self.subscription = subscription
        self.known = Known()
        self.idle_since = 0.0
        self._pools = pools
        self._tail = tail
        self._watch = watch
        self._aside_max = aside_max
        self._metrics = metrics
        self._buffer = CandidateBuffer(pools, tail, buffered)
        self._claims: list[WaitingClaim] = []
        self._acks: list[WaitingAck] = []
        self._due = False
        self._looked = False
        self._woken = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._ahead = 1  # how many times the facts that are asked for are offered to a call

    @property
    def waits(self) -> bool:
        """True if workers wait."""
        return bool(self._claims)

    @property
    def is_idle(self) -> bool:
        return self._running is None

    async def claim(self, worker: str, *, limit: int, wait_seconds: float, tenant: str = "") -> ClaimResult:
        """Claim facts. Raises FactwireError; nothing is claimed then."""
        loop = asyncio.get_running_loop()
        claim = WaitingClaim(worker, limit, loop.time() + wait_seconds, tenant, loop.create_future())
        self._claims.append(claim)
        self._call_soon()
        try:
            return await claim.result
        except asyncio.CancelledError:
            if claim.result.done() and not claim.result.cancelled() and claim.result.exception() is None:
                await asyncio.shield(self.give_back(claim.result.result()))
            raise
        finally:
            if claim in self._claims:
                self._claims.remove(claim)

    async def acknowledge(self, facts: Sequence[LeasedFact]) -> AckResult:
        """Acknowledge facts. Raises FactwireError: after OutcomeUnknown, the call is to be repeated."""
        ack = WaitingAck(facts, asyncio.get_running_loop().create_future())
        self._acks.append(ack)
        self._call_soon()
        return await ack.result

    async def give_back(self, result: ClaimResult) -> None:
        """Release facts after their client has left before its answer."""
        if result.facts:
            await self._release([fact.leased for fact in result.facts])

    def skipped_to(self, position: Position) -> None:
        """A new fact behind a position may match, as the match watch has found."""
        self._buffer.skip_to(position)
        self._call_soon()

    def notice(self, change: Change) -> None:
        """Look again if others have changed the subscription, or if it is time to."""
        if change.due or change.seq != self.known.seq or change.revision != self.subscription.revision:
            self._call_soon()

    def look(self) -> None:
        """Look again if workers wait: something was changed by this process."""
        if self._claims:
            self._call_soon()

    def drain(self) -> None:
        """Let every waiting claim end, empty unless there is something for it."""
        self._woken.set()

    def close(self) -> None:
        """Forget the candidates. A subscription with waiting workers is closed only if it does not exist any more."""
        self._fail([*self._claims, *self._acks], SubscriptionNotFound(self.subscription.name))
        self._buffer.restart(self._buffer.after)

    def _call_soon(self) -> None:
        self._due = True
        self._woken.set()
        if self._running is None:
            self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._acks or self._claims:
                if not self._due:
                    await self._wait()
                    self._end_overdue()
                if self._due:
                    self._due, self._looked = False, True
                    await self._call()
                    if self._looked:
                        self._end_overdue()
        finally:
            self._running = None
            self.idle_since = asyncio.get_running_loop().time()

    async def _wait(self) -> None:
        """Wait until there is something to do, or the first claim has waited long enough."""
        self._woken.clear()
        if self._has_more_to_read or self._tail.drain.begun:
            self._due = self._has_more_to_read
            return
        until = min([claim.until for claim in self._claims], default=0.0)
        if not len(self._buffer):  # otherwise something else than a match is waited for
            self._watch.add(self, self.subscription.query)
        try:
            async with asyncio.timeout_at(until):
                await self._woken.wait()
        except TimeoutError:
            pass
        finally:
            reached = self._watch.discard(self)
            if reached is not None and self._buffer.through < reached:
                self._buffer.skip_to(reached)
                self._due = self._due or reached - self._buffer.after > SCANNED_MAX

    def _end_overdue(self) -> None:
        """Answer the claims that have waited long enough, with nothing."""
        now = asyncio.get_running_loop().time()
        for claim in list(self._claims):
            if claim.is_over:
                self._claims.remove(claim)
            elif claim.until <= now or self._tail.drain.begun:
                self._claims.remove(claim)
                claim.result.set_result(ClaimResult((), None, self._is_caught_up, self.subscription.state))

    @property
    def _is_caught_up(self) -> bool:
        return not self.known.ready and not len(self._buffer) and self._buffer.through >= self._tail.head

    async def _call(self) -> None:
        """Make one call for all claims and acknowledgements that wait. Its failure is theirs."""
        acks, self._acks = self._take_acks()
        claims = [claim for claim in self._claims if not claim.is_over][:CLAIMS_MAX]
        try:
            if claims:
                await self._read_ahead(claims)
        except Exception as error:
            self._fail(claims, failure_of_claim(error))
            claims = []
        if not acks and not claims:
            return
        try:
            await self._claim_and_acknowledge(acks, claims)
        except Exception as error:
            self._fail(claims, failure_of_claim(error))
            self._fail(acks, failure_of(error))

    def _take_acks(self) -> tuple[list[WaitingAck], list[WaitingAck]]:
        """Acknowledgements for this call, and those for the next one."""
        count = place = 0
        while place < len(self._acks) and (not place or count + len(self._acks[place].facts) <= ACKNOWLEDGEMENTS_MAX):
            count += len(self._acks[place].facts)
            place += 1
        self._due = self._due or place < len(self._acks)
        return self._acks[:place], self._acks[place:]

    def _fail(self, waiting: Iterable[WaitingClaim | WaitingAck], error: FactwireError) -> None:
        for each in waiting:
            if not each.result.done():
                each.result.set_exception(error)
            if isinstance(each, WaitingClaim) and each in self._claims:
                self._claims.remove(each)

    async def _read_ahead(self, claims: Sequence[WaitingClaim]) -> None:
        """Have candidates at hand, if there are any: for this call, and for the processes that may be faster.

        The first call of a desk only asks where the cursor is.
        """
        self._tail.refuse_fork()
        if not self._buffer.is_good:
            self._buffer.restart(self._buffer.after)
        if self.known.seq < 0:
            return
        give_up_at = asyncio.get_running_loop().time() + SEARCH_SECONDS
        while (
            len(self._buffer) < self._offer(claims)
            and self._buffer.bytes < AHEAD_BYTES_MAX // 2
            and self._buffer.through < self._tail.head
            and asyncio.get_running_loop().time() < give_up_at
        ):
            await self._buffer.read_more(self.subscription, tenant=claims[0].tenant)

    def _offer(self, claims: Sequence[WaitingClaim]) -> int:
        """Number of candidates for a call with these claims."""
        return min(AHEAD_FACTS_MAX, self._ahead * sum(claim.limit for claim in claims))

    async def _claim_and_acknowledge(self, acks: Sequence[WaitingAck], claims: Sequence[WaitingClaim]) -> None:
        offered, witness = self._buffer.first(self._offer(claims)), self._tail.witness
        bodies = self._buffer.bodies(len(offered.positions))
        erasures = self._tail.erasures
        asked = [Claim(randbits(LEASE_BITS), claim.limit, claim.worker) for claim in claims]
        claimed = await self._call_database([fact for ack in acks for fact in ack.facts], asked, offered, witness)
        self._answer_acks(acks, claimed)
        if claimed.is_forked:
            await self._tail.detects_fork(seconds=FORK_SECONDS)
            self._tail.refuse_fork()
            raise Unavailable("History was replaced, and is read anew.")
        if claimed.revision != self.subscription.revision or claimed.epoch != self._buffer.epoch:
            await self._begin_again(claimed)
            return
        moved = claimed.position > self._buffer.after
        self._buffer.advance(claimed.position)
        if self.known.seq < 0:
            self._look_first()
        self.known = Known(claimed.seq, claimed.ready, claimed.open, claimed.limited)
        granted = sum(len(each) for each in claimed.granted)
        if claims:
            # Others have passed what was offered, or it is held: offer more the next time.
            short = granted < min(sum(claim.limit for claim in claims), len(offered.positions))
            self._ahead = min(self._ahead * 2, AHEAD_FACTS_MAX) if short else max(1, self._ahead // 2)
        await self._hand_out(claims, asked, claimed, bodies if erasures == self._tail.erasures else {})
        # Candidates that were not offered may be free although those before them are held.
        if self._claims and (granted or self._has_more_to_read or (moved and len(self._buffer))):
            self._due = True

    @property
    def _has_more_to_read(self) -> bool:
        return not len(self._buffer) and self._buffer.through < self._tail.head

    async def _call_database(
        self,
        acknowledged: Sequence[LeasedFact],
        claims: Sequence[Claim],
        candidates: Candidates,
        witness: Witness | None,
    ) -> ClaimOutcome:
        """One call. Raises SubscriptionNotFound, Unavailable, and the errors of asyncpg."""
        began_at = perf_counter()
        async with self._pools.subscriptions.connection() as connection:
            claimed = await claim_facts(
                connection,
                self.subscription.id,
                revision=self.subscription.revision,
                epoch=self._buffer.epoch,
                witness=witness,
                aside_max=self._aside_max,
                acknowledged=acknowledged,
                claims=claims,
                candidates=candidates,
            )
        self._metrics.claims_called(perf_counter() - began_at)
        if claimed is None:
            raise SubscriptionNotFound(self.subscription.name)
        return claimed

    def _answer_acks(self, acks: Sequence[WaitingAck], claimed: ClaimOutcome) -> None:
        for ack in acks:
            lost = [fact for fact in ack.facts if fact in claimed.lost]
            early = [fact for fact in ack.facts if fact in claimed.early]
            if not ack.result.done():
                ack.result.set_result(AckResult(len(ack.facts) - len(lost) - len(early), lost, early))

    async def _begin_again(self, claimed: ClaimOutcome) -> None:
        """Read everything anew: the subscription was changed, or the epoch raised."""
        async with self._pools.subscriptions.acquire() as connection:
            subscription = await read_subscription(connection, self.subscription.id)
        if subscription is None:
            raise SubscriptionNotFound(self.subscription.name)
        self.subscription = subscription
        if claimed.epoch > self._tail.epoch:
            await self._tail.reach_epoch(claimed.epoch, seconds=1.0)
        self._buffer.restart(claimed.position)
        self._look_first()

    def _look_first(self) -> None:
        """Make another call before a claim is answered: this one could not find anything for it."""
        if self._claims:
            self._due, self._looked = True, False

    async def _hand_out(
        self,
        claims: Sequence[WaitingClaim],
        asked: Sequence[Claim],
        claimed: ClaimOutcome,
        bodies: dict[Position, bytes],
    ) -> None:
        """Give each claim its facts. Those that cannot be read, or are too many for one answer, go back."""
        for claim, lease, granted in zip(claims, asked, claimed.granted, strict=True):
            if not granted:
                continue
            leased = [LeasedFact(self.subscription.id, lease.lease, position) for position, _ in granted]
            try:
                found = await self._bodies_of([position for position, _ in granted], bodies)
            except FactwireError as error:
                await self._release(leased)
                self._fail([claim], error)
                continue
            if claim.is_over:
                await self._release(leased)
                continue
            facts = [
                ClaimedFact(fact, attempt, found[fact.position])
                for fact, (_, attempt) in zip(leased, granted, strict=True)
                if fact.position in found
            ]
            if len(facts) < len(leased):
                await self._release([fact for fact in leased if fact.position not in found])
            self._claims.remove(claim)
            claim.result.set_result(ClaimResult(facts, claimed.until, self._is_caught_up, self.subscription.state))

    async def _bodies_of(self, positions: Sequence[Position], bodies: dict[Position, bytes]) -> dict[Position, bytes]:
        """Facts at some positions, as many as fit into an answer, at least one."""
        missing = [position for position in positions if position not in bodies]
        if missing:
            async with self._pools.read() as connection:
                listed = await list_facts_at(
                    connection, missing, bytes_max=AHEAD_BYTES_MAX, master_keys=self._pools.master_keys
                )
            bodies = bodies | {fact.position: fact.json for fact in listed}
        return first_bodies(positions, bodies, bytes_max=AHEAD_BYTES_MAX)

    async def _release(self, facts: Sequence[LeasedFact]) -> None:
        """Return facts as if they had not been claimed. If that fails, their lease runs out."""
        try:
            async with self._pools.subscriptions.connection() as connection:
                await return_facts(connection, self.subscription.id, facts, Return(released=True))
        except (Unavailable, *CONNECTION_FAILURES, asyncpg.PostgresError) as error:
            log.warning("facts could not be released, and come again when their lease runs out: %s", error)
        self.look()
