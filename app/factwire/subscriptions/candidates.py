"""Candidates of a subscription: its next matches, read and matched ahead of the claims, without any lock."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from factwire.domain.errors import CursorExpired, Unavailable
from factwire.domain.position import Position
from factwire.domain.subscription import Ordering, Subscription, keys_of
from factwire.follow.tail import Tail
from factwire.store.pools import Pools
from factwire.store.subscriptions.claims import Candidates
from factwire.store.subscriptions.matches import FactJson, aggregate_ids_of, find_matches

AHEAD_FACTS_MAX = 1000
AHEAD_BYTES_MAX = 1024 * 1024
BUFFERED_BYTES_MAX = 64 * 1024 * 1024  # of all buffers; beyond it they grow by little at a time
CROWDED_BYTES_MAX = 16 * 1024
LOOKS_MAX = 10_000  # look-ups in the ring at once: about a millisecond


class Candidate(NamedTuple):
    """A match: its position, its keys, and the fact as it is sent."""

    position: Position
    keys: Sequence[int]
    json: bytes


@dataclass(slots=True)
class Buffered:
    """Bytes that all buffers of a process hold together."""

    bytes: int = 0


def first_bodies(
    positions: Sequence[Position], bodies: Mapping[Position, bytes], *, bytes_max: int
) -> dict[Position, bytes]:
    """Bodies of the first positions, up to one that has none: as many as fit into an answer, at least one."""
    first: dict[Position, bytes] = {}
    for position in positions:
        bytes_max -= len(bodies.get(position, b""))
        if position not in bodies or (first and bytes_max < 0):
            break
        first[position] = bodies[position]
    return first


class CandidateBuffer:
    """The matches of one subscription in (after, through], as far as they were read.

    They are of one epoch and of one revision of the subscription, and are dropped if either changes, or if a fact was
    erased since, which may be among them. None is after the head of the tail, which bears witness to all of them.
    """

    def __init__(self, pools: Pools, tail: Tail, buffered: Buffered) -> None:
        self._pools = pools
        self._tail = tail
        self._facts: deque[Candidate] = deque()
        self.after = self.through = Position(0)
        self.epoch = 0
        self.bytes = 0
        self._erasures = self._beginnings = 0
        self._buffered = buffered

    def __len__(self) -> int:
        return len(self._facts)

    @property
    def is_good(self) -> bool:
        """False if its facts may be of another history, or contain a payload that was erased since."""
        tail = self._tail
        return tail.fork is None and (self.epoch, self._erasures, self._beginnings) == (
            tail.epoch,
            tail.erasures,
            tail.beginnings,
        )

    def restart(self, position: Position) -> None:
        """Forget everything, and go on behind a position."""
        self._facts.clear()
        self._buffered.bytes -= self.bytes
        self.bytes = 0
        self.after = self.through = position
        self.epoch, self._erasures = self._tail.epoch, self._tail.erasures
        self._beginnings = self._tail.beginnings

    def advance(self, position: Position) -> None:
        """Drop the candidates up to the position of the cursor. If the cursor was set back, all are dropped."""
        if position < self.after:
            self.restart(position)
            return
        while self._facts and self._facts[0].position <= position:
            self._count(-len(self._facts.popleft().json))
        self.after = position
        self.through = max(self.through, position)

    def skip_to(self, position: Position) -> None:
        """Note that there is no match up to a position, as the tail has found while nothing was to be read."""
        self.through = max(self.through, position)

    def first(self, count: int) -> Candidates:
        """The first of them, for one call; none if they may be of another history."""
        if not self.is_good:
            return Candidates(self.after, self.after)
        taken = list(islice(self._facts, count))
        through = self.after if not taken else taken[-1].position
        if len(taken) == len(self._facts):
            through = self.through
        return Candidates(self.after, through, [fact.position for fact in taken], [fact.keys for fact in taken])

    def bodies(self, count: int) -> dict[Position, bytes]:
        """The first of them as they are sent, by position."""
        return {fact.position: fact.json for fact in islice(self._facts, count)}

    async def read_more(self, subscription: Subscription, *, tenant: str) -> None:
        """Read on after `through`, for a moment. Raises Unavailable, KeyUnavailable and CursorExpired."""
        ring = self._tail.ring
        if ring.covers(self.through) and ring.epoch == self.epoch:
            self._read_ring(subscription)
        else:
            await self._read_history(subscription, tenant)

    def _read_ring(self, subscription: Subscription) -> None:
        ring, query, looks = self._tail.ring, subscription.query, 0
        for position, fact in ring.behind(self.through):
            looks += query.comparisons + len(fact.tags)
            if query.matches(fact.namespace, fact.type, frozenset(fact.tags)):
                head = f'{{"position":{position},"published_at":"{ring.published_at(position)}",'
                self._add(subscription.delivery.ordering, FactJson(position, head.encode() + fact.document))
            self.through = position
            if looks >= LOOKS_MAX or self.bytes >= AHEAD_BYTES_MAX or len(self._facts) >= AHEAD_FACTS_MAX:
                return

    async def _read_history(self, subscription: Subscription, tenant: str) -> None:
        erasures, after = self._tail.erasures, self.through
        async with self._pools.read(tenant, at_least=after) as connection:
            found = await find_matches(
                connection,
                subscription.query,
                after=after,
                facts_max=AHEAD_FACTS_MAX,
                bytes_max=AHEAD_BYTES_MAX if self._buffered.bytes < BUFFERED_BYTES_MAX else CROWDED_BYTES_MAX,
                master_keys=self._pools.master_keys,
            )
        if found.epoch != self.epoch or erasures != self._tail.erasures:
            raise Unavailable("The epoch changed, or a fact was erased, during the read.")
        if after < found.floor:
            raise CursorExpired(floor=found.floor)
        for fact in found.facts:
            if fact.position <= self._tail.head:
                self._add(subscription.delivery.ordering, fact)
        self.through = max(after, min(found.through, self._tail.head))

    def _add(self, ordering: Ordering, fact: FactJson) -> None:
        keys = keys_of(ordering, aggregate_ids_of(fact.json) if ordering is Ordering.AGGREGATE else ())
        self._facts.append(Candidate(fact.position, keys, fact.json))
        self._count(len(fact.json))

    def _count(self, bytes: int) -> None:
        self.bytes += bytes
        self._buffered.bytes += bytes
