"""Effects of a publish: checks, and writes, in the transaction of its append."""

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeldLease:
    """Check that a job still holds its lease: without it, the facts of the request are not written.

    `fence` is the number that the holder got when it took the lease. The lease cannot be taken by another holder
    until the facts are visible.
    """

    name: str
    holder: str
    fence: int


@dataclass(frozen=True, slots=True)
class RecordedExpiry:
    """Mark of an API key: its expiry is recorded by the facts of the request.

    They are not written if the key has not expired, was revoked, or has the mark.
    """

    key_id: str


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Acknowledgement of facts of one lease: they are done if the facts of the request are written, and only then."""

    subscription: int
    lease: int
    positions: tuple[int, ...]


def changed_object(effect: "Effect") -> Hashable | None:
    """Object that the effect changes: two such effects must not be in one call, since each checks it before."""
    match effect:
        case HeldLease():
            return None
        case RecordedExpiry():
            return effect.key_id
        case Acknowledgement():
            return effect.subscription, effect.lease


Effect = HeldLease | RecordedExpiry | Acknowledgement
"""The kinds of effects. Each has an encoding in `store/append`, and its check and its write in alembic/sql:
refuse_effects_v2.sql, apply_effects_v2.sql."""
