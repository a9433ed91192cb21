"""Creation, rotation and revocation of API keys. A caller can grant only its own grants, and everything is audited."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from uuid_utils import uuid7

from factwire.auth.key_cache import NAME as KEY
from factwire.auth.key_format import digest, new_id, new_key
from factwire.domain.audit import audit_fact
from factwire.domain.errors import FieldError, Forbidden, InvalidRequest, KeyNotFound, LimitExceeded
from factwire.domain.fact import NewFact, utc
from factwire.domain.grants import Grants, form_of, grants_from
from factwire.domain.principal import Principal
from factwire.store import api_keys
from factwire.store.api_keys import StoredApiKey
from factwire.store.connection import Connection

KEYS_MAX = 10_000  # each process keeps all of them in memory
KEY_NAME_LENGTH_MAX = 100
NAME = re.compile(rf"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{KEY_NAME_LENGTH_MAX}}}")
GRACE_SECONDS_MAX = 30 * 24 * 3600  # in which the previous secret of a rotated key stays valid


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A key with its secret, which is shown once."""

    key: StoredApiKey
    secret: str


async def create(
    connection: Connection, by: Principal, *, name: str, grants: Grants, expires_at: datetime | None
) -> CreatedKey:
    """Create a key. Raises InvalidRequest if the name is invalid or the expiry is past.

    Raises LimitExceeded if there are too many keys, and Forbidden if the creator has fewer grants than the key, or
    credentials that end before it.
    """
    if not NAME.fullmatch(name):
        detail = f"expected 1 to {KEY_NAME_LENGTH_MAX} characters, none of them control characters"
        raise InvalidRequest([FieldError(detail, "/name")])
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise InvalidRequest([FieldError("must be in the future", "/expires_at")])
    check_covers(by, grants)
    check_outlasts(by, expires_at)
    if await api_keys.count_keys(connection) >= KEYS_MAX:
        raise LimitExceeded("keys_max", KEYS_MAX, field=FieldError(f"there are {KEYS_MAX} valid keys"))
    id, form = new_id(), form_of(grants)
    secret = new_key(id)
    ends = None if expires_at is None else utc(expires_at)
    key = await api_keys.create_key(
        connection,
        maker=secret_of(by),
        id=id,
        name=name,
        grants=form,
        digest=digest(secret),
        expires_at=expires_at,
        audit=audit("KeyCreated", by, id, {"name": name, "grants": form, "expires_at": ends}),
    )
    return CreatedKey(key, secret)


async def find(connection: Connection, id: str) -> StoredApiKey:
    """Find a key by its id. Raises KeyNotFound."""
    found = await api_keys.find_key(connection, id)
    if found is None:
        raise KeyNotFound("There is no key with this id.")
    return found


async def rotate(connection: Connection, by: Principal, id: str, *, grace_seconds: float) -> CreatedKey:
    """Add a new secret; the previous one stays valid for the grace period.

    Raises KeyNotFound, and Forbidden as for a new key.
    """
    key = await find(connection, id)
    if key.revoked_at is not None:
        raise KeyNotFound("The key was revoked.")
    check_covers(by, grants_from(dict(key.grants)))
    check_outlasts(by, key.expires_at)
    secret = new_key(id)
    fact = audit("KeyRotated", by, id, {"grace_seconds": grace_seconds})
    await api_keys.add_secret(
        connection, key, maker=secret_of(by), digest=digest(secret), grace_seconds=grace_seconds, audit=fact
    )
    return CreatedKey(key, secret)


async def revoke(connection: Connection, by: Principal, id: str) -> StoredApiKey:
    """Revoke a key with all its secrets, immediately. Raises KeyNotFound."""
    key = await find(connection, id)
    if key.revoked_at is None:
        await api_keys.revoke_key(connection, id, audit=audit("KeyRevoked", by, id, {}))
        key = await find(connection, id)
    return key


def check_covers(by: Principal, grants: Grants) -> None:
    if not by.grants.cover(grants):
        raise Forbidden("A key may grant nothing that your own credentials do not.")


def secret_of(by: Principal) -> bytes | None:
    """Digest of the key secret that the principal used; None for other credentials."""
    return bytes.fromhex(by.credential.removeprefix(KEY)) if by.credential.startswith(KEY) else None


def check_outlasts(by: Principal, expires_at: datetime | None) -> None:
    """Raises Forbidden if a key would outlast the credentials of its creator: access would survive their loss."""
    if by.expires_at is None:
        return
    if expires_at is None or expires_at.timestamp() > by.expires_at:
        ends = utc(datetime.fromtimestamp(by.expires_at, UTC))
        raise Forbidden(f"A key must not outlive your own credentials, which expire at {ends}.")


def audit(type: str, by: Principal, id: str, payload: Mapping[str, Any]) -> NewFact:
    return audit_fact(type, id=str(uuid7()), by=by.name, about=f"key:{id}", payload=payload)
