"""API keys in the database: their grants, and the digests of their secrets. Each change is audited with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from asyncpg import Record

from factwire.domain.errors import Forbidden, Unauthenticated
from factwire.domain.fact import NewFact
from factwire.store.audit_log import audited_change
from factwire.store.connection import Connection
from factwire.store.rows import required_row

VERSION = "select version from factwire.keys_version"

# One statement, so that keys and version are from the same snapshot.
LIVE_SECRETS = """
select v.version, s.digest, k.id, k.name, k.grants, least(k.expires_at, s.expires_at) as expires_at
  from factwire.keys_version v
  left join (factwire.key_secrets s
        join factwire.keys k on k.id = s.key_id
                            and k.revoked_at is null
                            and coalesce(least(k.expires_at, s.expires_at), 'infinity') > now()) on true
"""

KEYS = """
select id, name, grants, created_at, expires_at, revoked_at, last_used_at
  from factwire.keys
 where coalesce(least(revoked_at, expires_at), 'infinity') > now() - $1::float8 * interval '1 day'
 order by created_at, id
"""

KEY = """
select id, name, grants, created_at, expires_at, revoked_at, last_used_at
  from factwire.keys
 where id = $1
"""

COUNT_KEYS = """
select count(*)
  from factwire.keys
 where revoked_at is null
   and coalesce(expires_at, 'infinity') > now()
"""

CREATE_KEY = """
insert into factwire.keys (id, name, grants, expires_at)
values ($1, $2, $3, $4)
returning id, name, grants, created_at, expires_at, revoked_at, last_used_at
"""

ADD_SECRET = "insert into factwire.key_secrets (key_id, digest) values ($1, $2)"

LET_SECRETS_EXPIRE = """
update factwire.key_secrets
   set expires_at = least(expires_at, now() + $2::float8 * interval '1 second')
 where key_id = $1
"""

FORGET_SECRETS = "delete from factwire.key_secrets where key_id = $1"

UNRECORDED_EXPIRIES = """
select id, expires_at
  from factwire.keys
 where revoked_at is null
   and expiry_recorded_at is null
   and expires_at <= now()
 order by expires_at
 limit $1
"""

# Each further secret is one more that may leak.
FORGET_OLD_SECRETS = """
delete from factwire.key_secrets
 where key_id = $1
   and (expires_at < now()
        or digest not in (
             select s.digest from factwire.key_secrets s where s.key_id = $1 order by s.created_at desc limit $2))
"""

# Locked: a concurrent revocation waits for the end of this transaction, or this transaction waits for its end.
HOLDS = """
select least(k.expires_at, s.expires_at) as expires_at
  from factwire.key_secrets s
  join factwire.keys k on k.id = s.key_id
 where s.digest = $1
   and k.revoked_at is null
   and coalesce(least(k.expires_at, s.expires_at), 'infinity') > clock_timestamp()
   for share
"""

REVOKE_KEY = "update factwire.keys set revoked_at = now() where id = $1 and revoked_at is null"

SHOWN_DAYS = 30.0  # after that, a key that has ended is no longer listed
SECRETS_MAX = 5  # per key

NOTE_USES = """
update factwire.keys k
   set last_used_at = greatest(k.last_used_at, u.used_at)
  from unnest($1::text[], $2::timestamptz[]) u (id, used_at)
 where k.id = u.id
"""


@dataclass(frozen=True, slots=True)
class StoredApiKey:
    """API key without its secret. `grants` has the JSON form of the HTTP interface."""

    id: str
    name: str
    grants: Mapping[str, Any]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class LiveSecret:
    """Valid secret of a key, with its time of expiry. `grants` is the JSON text of its grants."""

    digest: bytes
    key_id: str
    grants: str
    expires_at: datetime | None


async def keys_version(connection: Connection) -> int:
    version: int = required_row(await connection.fetchrow(VERSION))["version"]
    return version


async def live_secrets(connection: Connection) -> tuple[int, Sequence[LiveSecret]]:
    """All valid secrets, and the version of the keys that they belong to."""
    rows = await connection.fetch(LIVE_SECRETS)
    secrets = [
        LiveSecret(row["digest"], row["id"], row["grants"], row["expires_at"])
        for row in rows
        if row["digest"] is not None
    ]
    return required_row(next(iter(rows), None))["version"], secrets


async def stored_keys(connection: Connection) -> list[StoredApiKey]:
    """Valid keys, and those that ended in the last `SHOWN_DAYS`; the oldest first."""
    return [stored_key(row) for row in await connection.fetch(KEYS, SHOWN_DAYS)]


async def find_key(connection: Connection, id: str) -> StoredApiKey | None:
    row = await connection.fetchrow(KEY, id)
    return None if row is None else stored_key(row)


async def unrecorded_expiries(connection: Connection, *, keys_max: int) -> list[tuple[str, datetime]]:
    """Expired keys without a fact about their expiry: ids and times of expiry."""
    return [(row["id"], row["expires_at"]) for row in await connection.fetch(UNRECORDED_EXPIRIES, keys_max)]


async def count_keys(connection: Connection) -> int:
    """Number of valid keys."""
    count: int = await connection.fetchval(COUNT_KEYS)
    return count


async def check_holds(connection: Connection, maker: bytes | None, *, until: datetime | None) -> None:
    """Check that the secret that creates or rotates a key is valid now, and until the key ends (None: no API key).

    Processes learn of a revocation only seconds later, and a key created in between would stay valid permanently.
    Raises Unauthenticated if the secret is not valid, and Forbidden if it ends before the key.
    """
    if maker is None:
        return
    row = await connection.fetchrow(HOLDS, maker)
    if row is None:
        raise Unauthenticated("The credentials were revoked, or have ended.")
    ends = row["expires_at"]
    if ends is not None and (until is None or until > ends):
        raise Forbidden("A key must not outlive your own credentials, which have an expiry now.")


async def create_key(
    connection: Connection,
    *,
    maker: bytes | None,
    id: str,
    name: str,
    grants: Mapping[str, Any],
    digest: bytes,
    expires_at: datetime | None,
    audit: NewFact,
) -> StoredApiKey:
    """Create a key. Raises Unauthenticated if the maker's secret is not valid, Forbidden if it ends before the key."""
    async with audited_change(connection, audit):
        await check_holds(connection, maker, until=expires_at)
        row = await connection.fetchrow(CREATE_KEY, id, name, msgspec.json.encode(grants).decode(), expires_at)
        await connection.execute(ADD_SECRET, id, digest)
    assert row is not None
    return stored_key(row)


async def add_secret(
    connection: Connection,
    key: StoredApiKey,
    *,
    maker: bytes | None,
    digest: bytes,
    grace_seconds: float,
    audit: NewFact,
) -> None:
    """Add a secret to a key; its older secrets stay valid for the grace period, or until their own end if earlier.

    Raises Unauthenticated if the maker's own secret is not valid, and Forbidden if it ends before the key.
    """
    id = key.id
    async with audited_change(connection, audit):
        await check_holds(connection, maker, until=key.expires_at)
        await connection.execute(FORGET_OLD_SECRETS, id, SECRETS_MAX - 1)
        await connection.execute(LET_SECRETS_EXPIRE, id, grace_seconds)
        await connection.execute(ADD_SECRET, id, digest)


async def revoke_key(connection: Connection, id: str, *, audit: NewFact) -> None:
    async with audited_change(connection, audit):
        await connection.execute(REVOKE_KEY, id)
        await connection.execute(FORGET_SECRETS, id)


async def note_uses(connection: Connection, uses: Mapping[str, datetime]) -> None:
    """Store the time at which each key was last used."""
    await connection.execute(NOTE_USES, list(uses), list(uses.values()))


def stored_key(row: Record) -> StoredApiKey:
    return StoredApiKey(
        row["id"],
        row["name"],
        msgspec.json.decode(row["grants"]),
        row["created_at"],
        row["expires_at"],
        row["revoked_at"],
        row["last_used_at"],
    )
