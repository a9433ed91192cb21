"""Rotation of the master key: data keys are wrapped again, and no fact is changed."""

from uuid_utils import uuid7

from factwire.domain.audit import audit_fact
from factwire.store.append import append
from factwire.store.audit_log import raising_forks
from factwire.store.connection import Connection
from factwire.store.encryption.keys import MasterKeys, WrappedKey

# Ordered by id, so that the next call continues after the last one.
OLDER_KEYS = """
select id, wrapped_key, master_key
  from factwire.data_subjects
 where erased_at is null
   and master_key <> $1
   and id > $2
 order by id
 limit $3
"""

# Not if it was erased or wrapped again in the meantime.
WRAP_ANEW = """
update factwire.data_subjects d
   set wrapped_key = n.wrapped_key, master_key = $1
  from unnest($2::text[], $3::bytea[], $4::bytea[]) n (id, old_key, wrapped_key)
 where d.id = n.id
   and d.wrapped_key = n.old_key
"""

HAS_FOREIGN_KEY = """
select exists (select from factwire.data_subjects where erased_at is null and master_key <> all ($1))
"""

KEYS_AT_ONCE = 500


MASTER_KEY_ROTATED = "MasterKeyRotated"


async def rotate(connection: Connection, master_keys: MasterKeys, *, by: str) -> int:
    """Wrap every data key with the current master key, record it in a fact, and return how many were wrapped again.

    Raises KeyUnavailable, and HistoryForked.
    """
    rotated = await wrap_all(connection, master_keys)
    if rotated and master_keys.current is not None:
        payload = {"master_key": master_keys.current, "data_keys": rotated}
        audit = audit_fact(MASTER_KEY_ROTATED, id=str(uuid7()), by=by, about=master_keys.current, payload=payload)
        with raising_forks():
            await append(connection, [([audit], None)])
    return rotated


async def wrap_all(connection: Connection, master_keys: MasterKeys) -> int:
    rotated, behind = 0, ""
    while True:
        rows = await connection.fetch(OLDER_KEYS, master_keys.current, behind, KEYS_AT_ONCE)
        if not rows:
            return rotated
        new = [master_keys.rewrap(row["id"], WrappedKey(row["wrapped_key"], row["master_key"])) for row in rows]
        await connection.execute(
            WRAP_ANEW,
            master_keys.current,
            [row["id"] for row in rows],
            [row["wrapped_key"] for row in rows],
            [key.wrapped for key in new],
        )
        rotated, behind = rotated + len(rows), rows[-1]["id"]


async def has_foreign_key(connection: Connection, master_keys: MasterKeys) -> bool:
    """True if there is a data key that none of these master keys opens."""
    found: bool = await connection.fetchval(HAS_FOREIGN_KEY, master_keys.fingerprints)
    return found
