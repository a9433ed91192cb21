"""Short-lived browser credentials: single-use stream tickets and cookie sessions."""

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
"""Who somebody is now, with the grants of now; None where the credentials were revoked."""


@dataclass(frozen=True, slots=True)
class IssuedSecret:
    """A secret that is shown once, when it ends by the clock of the database, and for how long it holds from now on."""

    secret: str
    expires_at: datetime
    seconds: float


@asynccontextmanager
async def require_session() -> AsyncIterator[None]:
    """Raises Unauthenticated where the session from which something is to come has ended meanwhile."""
    try:
        yield
    except asyncpg.ForeignKeyViolationError:
        raise Unauthenticated("The session has ended: begin a new one.") from None


def current_principal(principal: str, current: Current) -> Principal:
    """Who a stored principal is now. Raises Unauthenticated where the credentials were revoked or have ended."""
    found = current(decode_principal(principal))
    if found is None or (found.expires_at or math.inf) <= time.time():
        raise Unauthenticated("The credentials behind it were revoked or have ended.")
    return found


def has_secret_form(secret: str, prefix: str) -> bool:
    """Whether it looks like one, so that nonsense costs no question to the database."""
    return len(secret) == len(prefix) + SECRET_CHARACTERS and secret.startswith(prefix) and secret.isascii()


def seconds_left(principal: Principal, seconds: float) -> float:
    """For how long to lend, which is never longer than the credentials hold."""
    return max(0.0, min(seconds, (principal.expires_at or math.inf) - time.time()))


def encode_principal(principal: Principal) -> str:
    return json.dumps([principal.name, form_of(principal.grants), principal.expires_at, principal.credential])


def owner_prefix(principal: Principal) -> str:
    """The beginning that the stored texts of a principal have in common, whatever its grants and credentials are."""
    return json.dumps([principal.name]).removesuffix("]") + ", "


def decode_principal(text: str) -> Principal:
    name, grants, expires_at, credential = json.loads(text)
    return Principal(name, grants_from(grants), expires_at, credential)
