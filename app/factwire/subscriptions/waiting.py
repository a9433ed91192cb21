"""Claims and acknowledgements that wait for a call, and their results."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from factwire.domain.subscription import LeasedFact


@dataclass(frozen=True, slots=True)
class ClaimedFact:
    """A fact in the hands of a worker, as it is sent."""

    leased: LeasedFact
    attempt: int
    json: bytes


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """Facts for a worker, until a time; without facts there was nothing to claim.

    `caught_up` is True if there is nothing else to claim at present.
    """

    facts: Sequence[ClaimedFact]
    until: datetime | None
    caught_up: bool
    state: str


@dataclass(frozen=True, slots=True)
class AckResult:
    """Result of an acknowledgement: how many facts are done, and those that cannot be acknowledged."""

    acknowledged: int
    lost: Sequence[LeasedFact] = ()
    early: Sequence[LeasedFact] = ()


@dataclass(slots=True, eq=False)
class WaitingClaim:
    """A worker that waits for facts, at most until a time of the loop's clock."""

    worker: str
    limit: int
    until: float
    tenant: str
    result: "asyncio.Future[ClaimResult]"

    @property
    def is_over(self) -> bool:
        return self.result.done()


@dataclass(slots=True, eq=False)
class WaitingAck:
    """Facts to acknowledge in the next call."""

    facts: Sequence[LeasedFact]
    result: "asyncio.Future[AckResult]"
