"""Whether a database can keep a log: one of its locks excludes others, and its encoding has every character.

Some databases that speak the protocol of PostgreSQL have stubs of the functions of advisory locks, which grant
everything to everybody: two appends would then take the same positions, or become visible in another order than that of
their positions.
"""

import logging
from secrets import randbits

from factwire.domain.errors import Unavailable
from factwire.store.pools import Connection, Pools

log = logging.getLogger(__name__)

GRANTED_TWICE = "the database grants one advisory lock to two sessions: it cannot order the log"

# Unqualified, as append calls them.
TAKE = "select pg_advisory_xact_lock($1::bigint)"
TRY = "select pg_try_advisory_xact_lock($1::bigint)"

ENCODING = "select getdatabaseencoding()"
ENCODINGS = ("UTF8", "SQL_ASCII")  # the second one stores bytes as they come
CREATE_ANEW = "create the database with encoding 'UTF8' template template0"
LACKS_CHARACTERS = f"the encoding of the database is {{}}, which lacks characters: {CREATE_ANEW}"


async def lock_excludes(holder: Connection, other: Connection) -> bool:
    """Whether a lock that one session holds is refused to another one.

    The key is random: the log's own, or one near it, would hold up publishers and the makers of partitions, and two
    processes that look at the same time must not take each other for the proof.
    """
    key = randbits(63)
    async with holder.transaction():
        await holder.execute(TAKE, key)
        return not await other.fetchval(TRY, key)


async def unsupported_encoding(connection: Connection) -> str | None:
    """The encoding of the database where that lacks characters, which facts may have."""
    encoding: str = await connection.fetchval(ENCODING)
    return None if encoding in ENCODINGS else encoding


async def unmet_requirement(holder: Connection, other: Connection) -> str | None:
    """Why a database cannot keep a log; None where it can."""
    encoding = await unsupported_encoding(holder)
    if encoding is not None:
        return LACKS_CHARACTERS.format(encoding)
    return None if await lock_excludes(holder, other) else GRANTED_TWICE


class Requirements:
    """What a process knows of its database: it appends nothing before it saw that it can keep a log, once."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._seen = False
        self._told = False

    async def demand(self) -> None:
        """Return once the database was seen to be fit. Raises Unavailable where it is not, or could not be asked."""
        if self._seen:
            return
        async with self._pools.watch.acquire() as holder, self._pools.read.acquire() as other:
            reason = await unmet_requirement(holder, other)
        self._seen = reason is None
        if reason is None:
            return
        if not self._told:
            self._told = True
            log.error("%s; nothing is published", reason)
        raise Unavailable("The database cannot keep a log: see what the service logs.")
