"""Proof that an advisory lock excludes: the order of the log rests on one.

Some databases that speak the protocol of PostgreSQL have stubs of these functions, which grant everything to everybody:
two appends would then take the same positions, or become visible in another order than that of their positions.
"""

from secrets import randbits

from app.store.database import Connection

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
