"""A process that publishes for a job while it has its lease: `python -m tests.integration.lease_holder URL NAME`."""

import asyncio
import sys

import asyncpg

from factwire.domain.errors import JobLeaseLost
from factwire.store.job_leases import renew_lease, take_lease
from tests.integration.store import a_fact
from tests.integration.test_publishing import publishers

SECONDS = 1.0


async def hold(url: str, name: str) -> None:
    """Publish for the job, and say when that is refused. It does not look at the clock, as if it had just looked."""
    connection = await asyncpg.connect(url)
    async with publishers(url, 1) as (publisher,):
        lease = await take_lease(connection, name, seconds=SECONDS)
        assert lease is not None
        try:
            while True:
                await publisher.publish([a_fact(type="Old")], effects=[lease.held])
                await renew_lease(connection, lease, seconds=SECONDS)
        except JobLeaseLost:
            sys.stdout.write("lost\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(hold(*sys.argv[1:]))
