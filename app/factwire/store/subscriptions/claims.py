"""Claims and acknowledgements in the database; alembic/sql/claim_facts_v1.sql has the rules."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from typing import NamedTuple

from factwire.domain.position import START, Position
from factwire.domain.subscription import LeasedFact
from factwire.store.append import Witness
from factwire.store.append_arguments import array_text
from factwire.store.connection import Connection
from factwire.store.query_arguments import SEPARATOR
from factwire.store.rows import required_row

CLAIM_FACTS = """
select revision, epoch, forked, seq, position, ready, open, limited, until, lost_leases, lost_positions, early_leases,
       early_positions, granted, granted_claims, granted_attempts
  from factwire.claim_facts(
    $1, $2, $3, $4, $5, $6, $7::text::bigint[], $8::text::bigint[], $9::text::bigint[], $10::text::integer[],
    string_to_array($11, e'\\x1f'), $12, $13, $14::text::bigint[], $15::text::bigint[], $16::text::integer[])
"""

RETURN_FACTS = """
select revision, returned, parked, lost_leases, lost_positions, withdrawn_leases, withdrawn_positions
  from factwire.return_facts($1, $2, $3, $4, $5, $6, $7)
"""

EXTEND_LEASES = "select until, lost from factwire.extend_leases($1, $2, $3)"


class Claim(NamedTuple):
    """Part of a call: one worker that takes up to `limit` facts under a lease, a random number."""

    lease: int
    limit: int
    worker: str


@dataclass(frozen=True, slots=True)
class Candidates:
    """Matches of a subscription between two positions: that of each, and its keys."""

    after: Position = START
    through: Position = START
    positions: Sequence[Position] = ()
    keys: Sequence[Sequence[int]] = ()


NO_CANDIDATES = Candidates()


@dataclass(frozen=True, slots=True)
class ClaimOutcome:
    """Result of one call.

    `revision` and `epoch` are those of now: if they are not those of the call, nothing was granted, nor if `is_forked`:
    the log is not the one that the witness was read from. `seq` grows with
    each change of what is open. `ready` is the number of facts that may be claimed and were not, besides candidates,
    and `open` that of all that are claimed or set aside. `granted` has position and attempt of each fact, by claim.
    `limited` is True if a limit of the subscription kept facts back.
    """

    revision: int
    epoch: int
    is_forked: bool
    seq: int
    position: Position
    ready: int
    open: int
    limited: bool
    until: datetime | None
    lost: frozenset[LeasedFact]
    early: frozenset[LeasedFact]
    granted: Sequence[Sequence[tuple[Position, int]]]


async def claim_facts(
    connection: Connection,
    subscription: int,
    *,
    revision: int,
    epoch: int,
    witness: Witness | None = None,
    aside_max: int,
    acknowledged: Sequence[LeasedFact] = (),
    claims: Sequence[Claim] = (),
    candidates: Candidates = NO_CANDIDATES,
) -> ClaimOutcome | None:
    """Acknowledge facts, then claim others, in one transaction. None if there is no such subscription.

    Of the candidates, those are granted, or held, that no other call has passed. All were read from the log that has
    the `witness`, and none is after it. Raises the errors of asyncpg.
    """
    keys = [(key, place) for place, each in enumerate(candidates.keys, 1) for key in each]
    row = required_row(
        await connection.fetchrow(
            CLAIM_FACTS,
            subscription,
            revision,
            epoch,
            witness and witness.position,
            witness and witness.id,
            aside_max,
            array_text(fact.lease for fact in acknowledged),
            array_text(fact.position for fact in acknowledged),
            array_text(claim.lease for claim in claims),
            array_text(claim.limit for claim in claims),
            SEPARATOR.join([claim.worker for claim in claims]),
            candidates.after,
            candidates.through,
            array_text(candidates.positions),
            array_text(key for key, _ in keys),
            array_text(place for _, place in keys),
        )
    )
    if row["revision"] is None:
        return None
    granted: list[list[tuple[Position, int]]] = [[] for _ in claims]
    for position, claim, attempt in zip(
        row["granted"] or (), row["granted_claims"] or (), row["granted_attempts"] or (), strict=True
    ):
        granted[claim - 1].append((position, attempt))
    return ClaimOutcome(
        row["revision"],
        row["epoch"],
        row["forked"],
        row["seq"],
        row["position"],
        row["ready"],
        row["open"],
        row["limited"],
        row["until"],
        leased_facts(subscription, row["lost_leases"], row["lost_positions"]),
        leased_facts(subscription, row["early_leases"], row["early_positions"]),
        granted,
    )


def leased_facts(
    subscription: int, leases: Sequence[int] | None, positions: Sequence[Position] | None
) -> frozenset[LeasedFact]:
    return frozenset(map(LeasedFact, repeat(subscription), leases or (), positions or ()))


@dataclass(frozen=True, slots=True)
class Return:
    """How facts go back: parked, released as if they had not been claimed, or to come again after a delay.

    Without `delay_seconds`, that is the backoff of the subscription.
    """

    park: bool = False
    released: bool = False
    delay_seconds: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Returned:
    """Result of a return.

    `facts` went back, `parked` of them for good. The leases of `lost` had ended; `withdrawn` went with others.
    """

    facts: int
    parked: int
    lost: frozenset[LeasedFact]
    withdrawn: frozenset[LeasedFact]


async def return_facts(
    connection: Connection, subscription: int, facts: Iterable[LeasedFact], how: Return
) -> Returned | None:
    """Return facts of leases. None if there is no such subscription. Raises the errors of asyncpg."""
    given = list(facts)
    row = required_row(
        await connection.fetchrow(
            RETURN_FACTS,
            subscription,
            [fact.lease for fact in given],
            [fact.position for fact in given],
            how.park,
            how.released,
            how.delay_seconds,
            how.reason,
        )
    )
    if row["revision"] is None:
        return None
    return Returned(
        row["returned"],
        row["parked"],
        leased_facts(subscription, row["lost_leases"], row["lost_positions"]),
        leased_facts(subscription, row["withdrawn_leases"], row["withdrawn_positions"]),
    )


async def extend_leases(
    connection: Connection, subscription: int, leases: Iterable[int], *, seconds: float | None
) -> tuple[datetime, Sequence[int]]:
    """Extend leases. Returns the new end, and the leases that have ended already."""
    row = required_row(await connection.fetchrow(EXTEND_LEASES, subscription, list(leases), seconds))
    return row["until"], row["lost"]
