"""Proof that an advisory lock excludes: the order of the log rests on one.

Some databases that speak the protocol of PostgreSQL have stubs of these functions, which grant everything to everybody:
two appends would then take the same positions, or become visible in another order than that of their positions.
"""

import logging
from secrets import randbits

from app.domain.errors import Unavailable
from app.store.database import Connection, Database

log = logging.getLogger(__name__)

GRANTED_TWICE = "the database grants one advisory lock to two sessions: it cannot order the log"

# Unqualified, as append calls them.
TAKE = "select pg_advisory_xact_lock($1::bigint)"
TRY = "select pg_try_advisory_xact_lock($1::bigint)"


async def lock_excludes(holder: Connection, other: Connection) -> bool:
    """Whether a lock that one session holds is refused to another one.

    The key is random: the log's own, or one near it, would hold up publishers and the makers of partitions, and two
    processes that look at the same time must not take each other for the proof.
    """
    key = randbits(63)
    async with holder.transaction():
        await holder.execute(TAKE, key)
        return not await other.fetchval(TRY, key)


class LockProof:
    """What a process knows of the lock: it appends nothing before it saw the lock exclude, once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._proved = False
        self._told = False

    async def demand(self) -> None:
        """Return once the lock was seen to exclude. Raises Unavailable where it does not, or could not be tried."""
        if self._proved:
            return
        async with self._database.watching.reading() as holder, self._database.reading.reading() as other:
            self._proved = await lock_excludes(holder, other)
        if self._proved:
            return
        if not self._told:
            self._told = True
            log.error("%s; nothing is published", GRANTED_TWICE)
        raise Unavailable("The lock of the database that orders the log excludes nobody.")
