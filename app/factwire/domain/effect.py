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


Effect = HeldLease
"""The kinds of effects. Each has an encoding in `store/append` and a branch in alembic/sql/refuse_effects_v1.sql."""
