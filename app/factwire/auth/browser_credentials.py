"""Common parts of the short-lived browser credentials: single-use stream tickets and cookie sessions."""

import json
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from factwire.domain.errors import Unauthenticated
from factwire.domain.grants import form_of, grants_from
from factwire.domain.principal import Principal

SECRET_CHARACTERS = 43  # 32 random bytes


Current = Callable[[Principal], Principal | None]
"""Current state of a principal, with its current grants; None if its credentials were revoked."""


@dataclass(frozen=True, slots=True)
class IssuedSecret:
    """Secret that is shown once, its expiry by the clock of the database, and its remaining lifetime in seconds."""

    secret: str
    expires_at: datetime
    seconds: float


@asynccontextmanager
async def require_session() -> AsyncIterator[None]:
    """Raises Unauthenticated if the session that requests a new ticket or session has ended in the meantime."""
    try:
        yield
    except asyncpg.ForeignKeyViolationError:
        raise Unauthenticated("The session has ended: start a new one.") from None


def current_principal(principal: str, current: Current) -> Principal:
    """Current state of a stored principal. Raises Unauthenticated if its credentials were revoked or have ended."""
    found = current(decode_principal(principal))
    if found is None or (found.expires_at or math.inf) <= time.time():
        raise Unauthenticated("The credentials that it was issued for were revoked or have expired.")
    return found


def has_secret_form(secret: str, prefix: str) -> bool:
    """True if a text has the form of a secret, so that a malformed one needs no database query."""
    return len(secret) == len(prefix) + SECRET_CHARACTERS and secret.startswith(prefix) and secret.isascii()


def seconds_left(principal: Principal, seconds: float) -> float:
    """Lifetime of a new secret in seconds, which is never longer than that of the credentials."""
    return max(0.0, min(seconds, (principal.expires_at or math.inf) - time.time()))


def encode_principal(principal: Principal) -> str:
    return json.dumps([principal.name, form_of(principal.grants), principal.expires_at, principal.credential])


def owner_prefix(principal: Principal) -> str:
    """Common prefix of the stored texts of a principal, independent of its grants and credentials."""
    return json.dumps([principal.name]).removesuffix("]") + ", "


def decode_principal(text: str) -> Principal:
    name, grants, expires_at, credential = json.loads(text)
    return Principal(name, grants_from(grants), expires_at, credential)
