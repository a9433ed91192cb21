"""Leased work: a job that one process does at a time, and that ends when the process can lose its lease."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from factwire.domain.errors import Unavailable
from factwire.store.job_leases import JobLease, release_lease, renew_lease, take_lease
from factwire.store.pools import CONNECTION_FAILURES, Pools

log = logging.getLogger(__name__)

RENEWALS = 3  # in the time of a lease


async def run_leased(pools: Pools, name: str, work: Callable[[JobLease], Awaitable[None]], *, seconds: float) -> bool:
    """Do the work if no other process does it. Returns False if another one has the lease.

    The work is cancelled if the lease could not be renewed in time, by the clock of this process since before it asked.
    That alone is no proof: a process that was stopped does not notice. So all that the work publishes carries
    `lease.held`, and is refused without the lease.
    """
    asked_at = now()
    async with pools.manage.acquire() as connection:
        lease = await take_lease(connection, name, seconds=seconds)
    if lease is None:
        return False
    doing = asyncio.ensure_future(work(lease))
    keeping = asyncio.create_task(keep(pools, lease, asked_at + seconds, seconds=seconds))
    try:
        await asyncio.wait((doing, keeping), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            log.warning("the job %s has lost its lease: it ends here", name)
    finally:
        for task in (doing, keeping):
            task.cancel()
        await asyncio.gather(doing, keeping, return_exceptions=True)
        with suppress(Unavailable, *CONNECTION_FAILURES):
            async with pools.manage.acquire() as connection:
                await release_lease(connection, lease)
    if not doing.cancelled():
        doing.result()
    return True


async def keep(pools: Pools, lease: JobLease, until: float, *, seconds: float) -> None:
    """Renew a lease until it is lost, or could be: a renewal that fails is tried again as long as there is time."""
    while True:
        await asyncio.sleep(min(seconds / RENEWALS, max(0.0, until - now())))
        asked_at = now()
        if asked_at >= until:
            return
        try:
            async with asyncio.timeout_at(until), pools.manage.acquire() as connection:
                if not await renew_lease(connection, lease, seconds=seconds):
                    return
        except (Unavailable, TimeoutError, *CONNECTION_FAILURES):
            continue
        until = asked_at + seconds


def now() -> float:
    return asyncio.get_running_loop().time()
