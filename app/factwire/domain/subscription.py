"""Subscriptions: their rules, the keys that order their facts, and the leases of facts."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal

from factwire.domain.grants import NamespaceSet
from factwire.domain.position import POSITION_MAX, Position
from factwire.domain.query import Query

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TOKEN = re.compile(r"([0-9A-Za-z]{1,6})\.([0-9A-Za-z]{1,11})\.([1-9][0-9]{0,18})", re.ASCII)
ID_MAX, LEASE_MAX = 2**31 - 1, 2**63 - 1
KEY_OF_ALL = (0,)
KEYS_REMEMBERED = 65536

ACK_TIMEOUT_SECONDS_MAX = 43_200
ATTEMPTS_MAX = 1000
IN_FLIGHT_MAX = 100_000
BACKOFF_SECONDS_MAX = 7 * 86_400
WORKER_LENGTH_MAX = 200
REASON_LENGTH_MAX = 1000
BACKOFF_FACTOR_MAX = 100
LEASES_MAX = 1000  # in one request, and facts in one claim
POSITIONS_MAX = 10_000  # of parked facts in one request


class Ordering(StrEnum):
    """Order in which facts are handed out: none, that of each aggregate, or that of all facts."""

    NONE = "none"
    AGGREGATE = "aggregate"
    ALL = "all"


class OnFailure(StrEnum):
    """Treatment of a fact that has used up its attempts: it is parked, or the subscription pauses."""

    PARK = "park"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Backoff:
    """Times before a fact comes again after the first, second … attempt, in seconds, with an upper bound."""

    first_seconds: float = 1.0
    factor: float = 2.0
    most_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """Rules by which facts are handed out. A lease lasts `ack_timeout_seconds`."""

    ordering: Ordering = Ordering.AGGREGATE
    ack_timeout_seconds: float = 30.0
    max_attempts: int = 5
    on_failure: OnFailure = OnFailure.PARK
    in_flight_max: int = 1000
    backoff: Backoff = Backoff()


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription as it is stored.

    `form` is the query as its author gave it, in JSON; `query` is the same, restricted to `scope`, the namespaces that
    the author may read. `revision` grows with each change, and `generation` with each reset.
    """

    id: int
    name: str
    form: Mapping[str, Any]
    query: Query
    scope: NamespaceSet
    delivery: Delivery
    generation: int
    revision: int
    paused_at: datetime | None
    failed: bool
    reason: str | None
    created_at: datetime

    @property
    def state(self) -> Literal["active", "paused", "failed"]:
        if self.paused_at is None:
            return "active"
        return "failed" if self.failed else "paused"


@dataclass(frozen=True, slots=True, order=True)
class LeasedFact:
    """A fact in the hands of a worker: its subscription, its lease, which is that of a claim, and its position.

    Leases are random: after a fail-over that lost commits, numbers from a sequence would come again for other facts,
    and a worker would acknowledge what it never saw.
    """

    subscription: int
    lease: int
    position: Position

    def __str__(self) -> str:
        return f"{to_digits(self.subscription)}.{to_digits(self.lease)}.{self.position}"


def parse_lease(text: str) -> LeasedFact:
    """Parse the text of a LeasedFact. Raises ValueError."""
    found = TOKEN.fullmatch(text)
    if found is not None:
        subscription, lease, position = from_digits(found[1]), from_digits(found[2]), int(found[3])
        if subscription <= ID_MAX and lease <= LEASE_MAX and position <= POSITION_MAX:
            return LeasedFact(subscription, lease, Position(position))
    raise ValueError("expected a lease as a claim returns it")


def to_digits(number: int) -> str:
    """A number in base 62."""
    text = ""
    while number:
        number, digit = divmod(number, len(DIGITS))
        text = DIGITS[digit] + text
    return text or DIGITS[0]


def from_digits(text: str) -> int:
    number = 0
    for digit in text:
        number = number * len(DIGITS) + DIGITS.index(digit)
    return number


def keys_of(ordering: Ordering, aggregate_ids: Iterable[str]) -> Sequence[int]:
    """Keys of a fact: while a fact is open, later ones with a key of it wait."""
    match ordering:
        case Ordering.NONE:
            return ()
        case Ordering.ALL:
            return KEY_OF_ALL
        case Ordering.AGGREGATE:
            return tuple({key_of(aggregate_id): None for aggregate_id in aggregate_ids})


@lru_cache(KEYS_REMEMBERED)
def key_of(aggregate_id: str) -> int:
    """Hash of an aggregate id. Two ids with one hash wait for each other, which is rare and harms no order."""
    return int.from_bytes(blake2b(aggregate_id.encode(), digest_size=8).digest(), signed=True)
