"""Leases of jobs: one process does a job at a time, and one that lost its lease cannot publish for it any more."""

from dataclasses import dataclass
from uuid import UUID, uuid4

from factwire.domain.effect import HeldLease
from factwire.store.connection import Connection

TAKE = "select factwire.take_job_lease($1, $2, $3)"
RENEW = "select factwire.renew_job_lease($1, $2, $3, $4)"


@dataclass(frozen=True, slots=True)
class JobLease:
    """A lease that was taken. `fence` grows each time that the lease is taken, by whomever."""

    name: str
    holder: UUID
    fence: int

    @property
    def held(self) -> HeldLease:
        """The effect that lets a publish fail once the lease is lost."""
        return HeldLease(self.name, str(self.holder), self.fence)


async def take_lease(connection: Connection, name: str, *, seconds: float) -> JobLease | None:
    """Take the lease of a job; None if somebody has it. The clock is that of the database.

    The holder is random: after a restore or a fail-over that lost commits, a fence may come again, but not with it.
    """
    holder = uuid4()
    fence = await connection.fetchval(TAKE, name, holder, seconds)
    return None if fence is None else JobLease(name, holder, fence)


async def renew_lease(connection: Connection, lease: JobLease, *, seconds: float) -> bool:
    """Prolong a lease from now on. False if it was lost: the work has to end."""
    renewed: bool = await connection.fetchval(RENEW, lease.name, lease.holder, lease.fence, seconds)
    return renewed


async def release_lease(connection: Connection, lease: JobLease) -> None:
    """Let others take the lease at once. A lease that was lost is left alone."""
    await connection.fetchval(RENEW, lease.name, lease.holder, lease.fence, 0)
