"""Cookie sessions for the pages of the service."""

import asyncio
import math
from contextlib import suppress
from dataclasses import replace
from secrets import token_urlsafe

from factwire.auth.browser_credentials import (
    Current,
    IssuedSecret,
    current_principal,
    encode_principal,
    has_secret_form,
    owner_prefix,
    require_session,
    seconds_left,
)
from factwire.auth.key_format import digest
from factwire.domain.errors import Unauthenticated, Unavailable
from factwire.domain.principal import Principal
from factwire.store.pools import Pools
from factwire.store.sessions import begin_session, end_session, find_session, live_sessions

SESSION_PREFIX = "fws_"


LOOK_SECONDS = 5.0


class Sessions:
    """Each session is valid for many requests, until it ends, or until the credentials or session that began it end.

    Each stream checks as long as it is open that its session has not ended; one database query serves all of them.
    """

    def __init__(self, pools: Pools, current: Current, *, seconds: float, sessions_max: int) -> None:
        self._pools = pools
        self._current = current
        self._seconds = seconds
        self._sessions_max = sessions_max
        self._asked_for: set[bytes] = set()
        self._ended: set[bytes] = set()

    async def begin(self, principal: Principal) -> IssuedSecret:
        secret, seconds = SESSION_PREFIX + token_urlsafe(32), seconds_left(principal, self._seconds)
        async with require_session(), self._pools.manage.acquire() as connection:
            expires_at = await begin_session(
                connection,
                digest(secret),
                principal=encode_principal(principal),
                owner=owner_prefix(principal),
                sessions_max=self._sessions_max,
                seconds=seconds,
                session=principal.session or None,
            )
        return IssuedSecret(secret, expires_at, seconds)

    async def find(self, secret: str) -> Principal:
        """Principal of a session, which ends with the session at the latest. Raises Unauthenticated."""
        found = None
        if has_secret_form(secret, SESSION_PREFIX):
            async with self._pools.manage.acquire() as connection:
                found = await find_session(connection, digest(secret))
        if found is None:
            raise Unauthenticated("The session has ended: start a new one.")
        principal = current_principal(found.principal, self._current)
        expires_at = min(found.expires_at.timestamp(), principal.expires_at or math.inf)
        return replace(principal, expires_at=expires_at, session=digest(secret))

    async def end(self, secret: str) -> None:
        """End a session and everything derived from it: its tickets, sessions begun with it, and all their streams."""
        if has_secret_form(secret, SESSION_PREFIX):
            async with self._pools.manage.acquire() as connection:
                await end_session(connection, digest(secret))

    def check(self, principal: Principal) -> None:
        """Raises Unauthenticated if the session of a principal is known to have ended."""
        if principal.session:
            self._asked_for.add(principal.session)
            if principal.session in self._ended:
                raise Unauthenticated("The session has ended.")

    async def run(self) -> None:
        """Find the ended sessions of open streams, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            asked_for, self._asked_for = self._asked_for, set()
            if asked_for:
                with suppress(Unavailable):
                    async with self._pools.watch.acquire() as connection:
                        self._ended = asked_for - await live_sessions(connection, asked_for)
