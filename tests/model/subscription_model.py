"""Model of a subscription in the database: random acts of two processes, and what must hold after each of them."""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import msgspec

from factwire.domain.position import Position
from factwire.domain.subscription import LeasedFact
from factwire.store.connection import Connection
from factwire.store.subscriptions.claims import (
    Candidates,
    Claim,
    Return,
    claim_facts,
    return_facts,
)
from factwire.store.subscriptions.parked import resolve_parked

CREATE = """
with made as (
  insert into factwire.subscriptions
         (name, query, include, exclude, ordering, ack_timeout_seconds, max_attempts, on_failure, in_flight_max,
          backoff_first_seconds, backoff_factor, backoff_most_seconds, created_by)
  values (gen_random_uuid(), '{"items": []}', '{*}', '{}', $1, 3600, $2, 'park', $3, 3600, 2, 7200, 'tests')
  returning id
)
insert into factwire.subscription_cursors (subscription, seq, position)
select id, 1, 0 from made returning subscription
"""
CURSORS = "select * from factwire.subscription_cursors where subscription = $1"
LEASES = "select * from factwire.subscription_leases where subscription = $1"
ASIDE = "select * from factwire.subscription_aside where subscription = $1"
OPEN_KEYS = "select key, position from factwire.subscription_open_keys where subscription = $1"
SETTLED = "select * from factwire.subscription_settled where subscription = $1"
RUN_OUT = "update factwire.subscription_leases set until = '-infinity' where subscription = $1 and lease = any ($2)"
COME_DUE = "update factwire.subscription_aside set due = '-infinity' where subscription = $1 and due is not null"
LOOK = "update factwire.subscription_cursors set look_at = '-infinity' where subscription = $1"
REFUSE = "select outcome from factwire.refuse_effects($1::text::jsonb, '{}')"
APPLY = "select factwire.apply_effects($1::text::jsonb, '{}', now())"
RESET = "select factwire.reset_subscription($1, $2)"

ATTEMPTS_MAX = 3


class Violation(AssertionError):
    """Something that a subscription promises does not hold."""


def require(holds: bool, *what: object) -> None:
    if not holds:
        raise Violation(*what)


@dataclass(frozen=True)
class World:
    """Facts that match a subscription: positions with their keys, up to a head; and the rules of the subscription."""

    head: int
    keys: dict[int, tuple[int, ...]]
    ordering: str = "aggregate"
    in_flight_max: int = 1000
    aside_max: int = 1000

    def candidates(self, after: int, through: int) -> Candidates:
        positions = [position for position in self.keys if after < position <= through]
        return Candidates(
            Position(after), Position(through), [*map(Position, positions)], [self.keys[each] for each in positions]
        )


@dataclass
class Ledger:
    """What the workers know: the facts in their hands by lease, in order, and what is over."""

    leases: dict[int, list[int]] = field(default_factory=dict)
    done: list[int] = field(default_factory=list)
    discarded: list[int] = field(default_factory=list)
    parked: set[int] = field(default_factory=set)
    lost: set[tuple[int, int]] = field(default_factory=set)
    acknowledged: set[tuple[int, int]] = field(default_factory=set)
    run_out: set[int] = field(default_factory=set)
    alone: set[int] = field(default_factory=set)
    delayed: set[int] = field(default_factory=set)


class Model:
    """One subscription, two processes with a cursor each, and the acts that they and their workers do."""

    def __init__(
        self, connection: Connection, subscription: int, world: World, chance: random.Random, *, epoch: int
    ) -> None:
        self.connection = connection
        self.id = subscription
        self.world = world
        self.epoch = epoch
        self.chance = chance
        self.ledger = Ledger()
        self.scanned = [0, 0]
        self.revision = 1
        self._leases: Iterator[int] = count(1)

    # Acts

    async def call(self, process: int, *, claims: int, acks: Iterable[LeasedFact] = (), far: bool = False) -> None:
        """One call of a process, with acknowledgements and claims; its cursor may be stale, or too far."""
        after = self.scanned[process] + (self.chance.randint(1, 5) if far else 0)
        through = min(self.world.head, after + self.chance.randint(0, 12))
        acknowledged = list(dict.fromkeys(acks))
        asked = [Claim(next(self._leases), self.chance.randint(1, 10), "w") for _ in range(claims)]
        claimed = await claim_facts(
            self.connection,
            self.id,
            revision=self.revision,
            epoch=self.epoch,
            aside_max=self.world.aside_max,
            acknowledged=acknowledged,
            claims=asked,
            candidates=self.world.candidates(after, max(after, through)),
        )
        assert claimed is not None
        self.scanned[process] = claimed.position
        self._note_acknowledged(acknowledged, claimed.lost, claimed.early)
        await self._note_ended()
        granted = [[position for position, _ in each] for each in claimed.granted]
        for claim, positions in zip(asked, granted, strict=True):
            if positions:
                self.ledger.leases[claim.lease] = [*positions]
        await self._check_granted(asked, granted)
        await self._note_parked()

    def _note_acknowledged(
        self, given: Sequence[LeasedFact], lost: frozenset[LeasedFact], early: frozenset[LeasedFact]
    ) -> None:
        ledger = self.ledger
        held = {fact: fact.position in ledger.leases.get(fact.lease, ()) for fact in given}
        waiting = {fact: held[fact] and self._waits(fact, given) for fact in given}
        for fact in given:
            place = fact.lease, fact.position
            if held[fact] and fact in lost:
                require(fact.lease in ledger.run_out, "lost before its time", fact)
            elif held[fact]:
                require((fact in early) == waiting[fact], "order of acknowledgements", fact, waiting[fact])
                if fact not in early:
                    ledger.done.append(fact.position)
                    ledger.acknowledged.add(place)
                    ledger.leases[fact.lease].remove(fact.position)
            else:
                require(fact not in early, "early without a lease", fact)
                require(fact in lost or place not in ledger.lost, "a lost fact was acknowledged", fact)
                require(fact not in lost or place not in ledger.acknowledged, "a repetition was refused", fact)

    def _waits(self, fact: LeasedFact, given: Sequence[LeasedFact]) -> bool:
        """True if an earlier fact with a key of this one stays in the lease, directly or through others."""
        positions = {each.position for each in given if each.lease == fact.lease}
        staying: set[int] = set()
        for position in self.ledger.leases[fact.lease]:
            keys = set(self.world.keys[position])
            waits = bool(keys & staying)
            if position == fact.position:
                return waits
            if waits or position not in positions:
                staying |= keys
        return False

    async def _check_granted(self, claims: Sequence[Claim], granted: Sequence[Sequence[int]]) -> None:
        """Each granted fact is the first open one of each of its keys, or all earlier ones are in the same claim."""
        by_key = await self.open_by_key()
        for claim, positions in zip(claims, granted, strict=True):
            require(len(positions) <= claim.limit, "more than the limit", positions)
            require(len(positions) < 2 or not self.ledger.alone & set(positions), "not alone", positions)
            for place, position in enumerate(positions):
                for key in self.world.keys[position]:
                    earlier = {each for each in by_key[key] if each < position}
                    require(earlier <= set(positions[:place]), "granted out of order", position, earlier)
        leased = sum(len(positions) for positions in self.ledger.leases.values())
        require(leased <= self.world.in_flight_max, "in flight", leased)

    async def give_back(self, facts: Sequence[LeasedFact], how: Return) -> None:
        returned = await return_facts(self.connection, self.id, facts, how)
        assert returned is not None
        for fact in dict.fromkeys(facts):
            held = fact.position in self.ledger.leases.get(fact.lease, ())
            require((fact in returned.lost) != held, "lost or returned", fact)
        gone = {fact for fact in facts if fact not in returned.lost} | returned.withdrawn
        for fact in gone:
            self._lose(fact.lease, fact.position)
            keys = set(self.world.keys[fact.position])
            for later in self.ledger.leases.get(fact.lease, ()):
                stays = LeasedFact(self.id, fact.lease, Position(later)) not in gone
                require(not (stays and later > fact.position and keys & set(self.world.keys[later])), "stays", later)
        if not how.park and not how.released and how.delay_seconds is None:
            self.ledger.delayed |= {fact.position for fact in facts if fact not in returned.lost}
        if how.park:
            self.ledger.parked |= {fact.position for fact in facts if fact not in returned.lost}
        await self._note_parked()

    async def settle(self, lease: int, positions: Sequence[int]) -> None:
        """Acknowledge as an append does."""
        effect = {
            "request": 0,
            "kind": "acknowledgement",
            "subscription": self.id,
            "lease": lease,
            "positions": list(positions),
        }
        text = msgspec.json.encode([effect]).decode()
        outcomes = [row["outcome"] for row in await self.connection.fetch(REFUSE, text)]
        held = self.ledger.leases.get(lease, [])
        if not set(positions) <= set(held):
            require(outcomes == ["unleased"], outcomes)
            return
        given = [LeasedFact(self.id, lease, Position(position)) for position in positions]
        if any(self._waits(fact, given) for fact in given):
            require(outcomes == ["early"], outcomes)
            return
        require(outcomes == [], outcomes)
        await self.connection.execute(APPLY, text)
        self.ledger.done += positions
        self.ledger.leases[lease] = [position for position in held if position not in positions]

    async def run_out(self, leases: Sequence[int]) -> None:
        self.ledger.run_out |= set(leases)
        await self.connection.execute(RUN_OUT, self.id, list(leases))
        await self.connection.execute(LOOK, self.id)

    async def come_due(self) -> None:
        self.ledger.delayed = set()
        await self.connection.execute(COME_DUE, self.id)
        await self.connection.execute(LOOK, self.id)

    async def resolve(self, positions: Sequence[int], *, discard: bool) -> None:
        facts = await resolve_parked(self.connection, self.id, [*map(Position, positions)], discard=discard)
        require(facts == len(self.ledger.parked & set(positions)), "resolved", facts)
        if discard:
            self.ledger.discarded += self.ledger.parked & set(positions)
        self.ledger.alone -= set(positions)
        self.ledger.parked -= set(positions)

    async def reset(self, position: int) -> None:
        """Begin again behind a position: what is done behind it is to be done once more."""
        await self.connection.execute(RESET, self.id, position)
        ledger = self.ledger
        for lease in list(ledger.leases):
            for each in list(ledger.leases[lease]):
                self._lose(lease, each)
        self.revision += 1
        kept = {each for each in ledger.parked if each <= position}
        ledger.done = [each for each in self.world.keys if each <= position and each not in kept]
        ledger.discarded = []
        ledger.acknowledged = set()
        ledger.parked = kept
        ledger.alone = set()
        ledger.delayed = set()

    def _lose(self, lease: int, position: int) -> None:
        if position in self.ledger.leases.get(lease, ()):
            self.ledger.leases[lease].remove(position)
        self.ledger.lost.add((lease, position))

    async def _note_ended(self) -> None:
        """Take note of leases that this call took back."""
        stored = {row["lease"] for row in await self.connection.fetch(LEASES, self.id)}
        for lease, positions in list(self.ledger.leases.items()):
            if lease not in stored:
                require(lease in self.ledger.run_out or not positions, "a lease is gone", lease, positions)
                for position in list(positions):
                    self._lose(lease, position)
            if not self.ledger.leases[lease]:
                del self.ledger.leases[lease]

    async def _note_parked(self) -> None:
        """Take note of what was parked because its attempts are used up, and of what is to come alone."""
        rows = await self.connection.fetch(ASIDE, self.id)
        self.ledger.alone = {row["position"] for row in rows if row["alone"]}
        for row in rows:
            if row["state"] == "parked" and row["position"] not in self.ledger.parked:
                require(row["attempts"] >= ATTEMPTS_MAX, "parked without a reason", dict(row))
                self.ledger.parked.add(row["position"])
                self.ledger.delayed.discard(row["position"])
            require(row["alone"] <= (row["attempts"] >= 2), "alone too early", dict(row))

    async def open_by_key(self) -> dict[int, set[int]]:
        found: dict[int, set[int]] = defaultdict(set)
        for row in await self.connection.fetch(OPEN_KEYS, self.id):
            found[row["key"]].add(row["position"])
        return found

    # Invariants

    async def check(self) -> None:
        """Check everything that must hold between two acts."""
        [cursor] = await self.connection.fetch(CURSORS, self.id)
        aside = await self.connection.fetch(ASIDE, self.id)
        leases = await self.connection.fetch(LEASES, self.id)
        settled = await self.connection.fetch(SETTLED, self.id)
        held = {lease: sorted(positions) for lease, positions in self.ledger.leases.items() if positions}
        require({row["lease"]: sorted(row["positions"]) for row in leases} == held, "leases", leases, held)
        opened = {(key, row["position"]) for row in aside for key in row["keys"]}
        for row in leases:
            require(all(0 < place <= len(row["positions"]) for place in row["key_places"]), "places", dict(row))
            places = zip(row["keys"], row["key_places"], strict=True)
            given = [(key, row["positions"][place - 1]) for key, place in places]
            expected = [(key, position) for position in row["positions"] for key in self.world.keys[position]]
            require(sorted(given) == sorted(expected), "keys of a lease", dict(row))
            require(len(row["attempts"]) == len(row["positions"]), "attempts of a lease", dict(row))
            opened |= set(given)
        opened |= {pair for row in settled for pair in zip(row["keys"], row["key_positions"], strict=True)}
        by_key = await self.open_by_key()
        stored = {(key, position) for key, positions in by_key.items() for position in positions}
        require(stored == opened, "open keys", stored ^ opened)
        in_flight = sum(len(row["positions"]) for row in leases) + sum(row["facts"] for row in settled)
        require((cursor["aside"], cursor["in_flight"]) == (len(aside), in_flight), "counts", dict(cursor), in_flight)
        ready = [row for row in aside if row["state"] == "ready"]
        require(len(ready) == cursor["turn"] - cursor["taken"], "turns", dict(cursor), ready)
        self._check_places(cursor["position"], [row["position"] for row in aside])
        for row in aside:
            self._check_state(row["state"], row["position"], row["turn"], by_key, cursor["taken"])

    def _check_places(self, position: int, aside: Sequence[int]) -> None:
        """Every match up to the cursor is in exactly one place: a lease, set aside, or over."""
        leased = [each for positions in self.ledger.leases.values() for each in positions]
        places = sorted([*leased, *aside, *self.ledger.done, *self.ledger.discarded])
        expected = sorted(each for each in self.world.keys if each <= position)
        require(places == expected, "places", places, expected)

    def _check_state(
        self, state: str, position: int, turn: int | None, by_key: dict[int, set[int]], taken: int
    ) -> None:
        """A fact is held exactly if something earlier of its keys is open."""
        first = all(min(by_key[key]) == position for key in self.world.keys[position])
        match state:
            case "held":
                require(not first, "held but first", position)
            case "ready":
                require(first and turn is not None and turn > taken, "ready but not first", position, turn)
                require(position not in self.ledger.delayed, "ready before its time", position)
            case "delayed":
                require(first, "delayed but not first", position)
            case _:
                require(position in self.ledger.parked, "parked", position)
