"""Effects of a publish: checks, and writes, in the transaction of its append."""

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


def writes(effect: "Effect") -> bool:
    """True if the effect changes its object, so that two of the same must not be in one call: each checks it before."""
    return not isinstance(effect, HeldLease)


Effect = HeldLease | RecordedExpiry
"""The kinds of effects. Each has an encoding in `store/append`, and its check and its write in alembic/sql:
refuse_effects_v1.sql, apply_effects_v1.sql."""
