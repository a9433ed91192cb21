"""Requirements on a database that keeps a log: advisory locks that exclude, and an encoding that has every character.

Some databases that speak the protocol of PostgreSQL have stubs of the advisory lock functions, which grant every lock
to every session: two appends would then take the same positions, or become visible in another order than that of their
positions.
"""

import logging
from secrets import randbits

from factwire.domain.errors import Unavailable
from factwire.store.connection import Connection
from factwire.store.pools import Pools

log = logging.getLogger(__name__)

GRANTED_TWICE = "the database grants one advisory lock to two sessions: it cannot order the log"

# Without a schema name, as append calls them.
TAKE = "select pg_advisory_xact_lock($1::bigint)"
TRY = "select pg_try_advisory_xact_lock($1::bigint)"

ENCODING = "select getdatabaseencoding()"
ENCODINGS = ("UTF8", "SQL_ASCII")  # the second one stores bytes unchanged
CREATE_ANEW = "create the database with encoding 'UTF8' template template0"
LACKS_CHARACTERS = f"the encoding of the database is {{}}, which lacks characters: {CREATE_ANEW}"


async def lock_excludes(holder: Connection, other: Connection) -> bool:
    """True if an advisory lock that one session holds is refused to another one.

    The key is random: the key of the log, or one near it, would delay publishers and the creation of partitions, and
    two processes that check at the same time must not take each other's lock for the proof.
    """
    key = randbits(63)
    async with holder.transaction():
        await holder.execute(TAKE, key)
        return not await other.fetchval(TRY, key)


async def unsupported_encoding(connection: Connection) -> str | None:
    """Encoding of the database if it lacks characters that facts may have, otherwise None."""
    encoding: str = await connection.fetchval(ENCODING)
    return None if encoding in ENCODINGS else encoding


async def unmet_requirement(holder: Connection, other: Connection) -> str | None:
    """Reason why a database cannot keep a log; None if it can."""
    encoding = await unsupported_encoding(holder)
    if encoding is not None:
        return LACKS_CHARACTERS.format(encoding)
    return None if await lock_excludes(holder, other) else GRANTED_TWICE


class Requirements:
    """Check of the database, passed once per process: nothing is appended before the database is known to be fit."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._seen = False
        self._logged = False

    async def require(self) -> None:
        """Return when the database has passed the check. Raises Unavailable if it fails or cannot be checked."""
        if self._seen:
            return
        async with self._pools.watch.acquire() as holder, self._pools.read() as other:
            reason = await unmet_requirement(holder, other)
        self._seen = reason is None
        if reason is None:
            return
        if not self._logged:
            self._logged = True
            log.error("%s; nothing is published", reason)
        raise Unavailable("The database cannot keep a log: the service has logged the reason.")
