"""Access: who a request is from, and whether that holds for as long as it is answered."""

import math
import time
from typing import Protocol

from factwire.domain.errors import Unauthenticated
from factwire.domain.principal import ANYBODY, Principal

SCHEME = b"bearer "
RECENT_SECONDS = 1.0
RECENT_MAX = 4096
SEND_CREDENTIALS = "Send credentials that hold, as `Authorization: Bearer …`."


class Authenticator(Protocol):
    """Knows one kind of credentials."""

    def accepts(self, token: str) -> bool:
        """Whether a token is of this kind."""
        ...

    def known(self, token: str) -> Principal | None:
        """Whose a token is that needs no waiting to be verified."""
        ...

    async def verify(self, token: str) -> Principal:
        """Whose a token is. Raises Unauthenticated, and Unavailable where nobody can tell."""
        ...

    def current(self, principal: Principal) -> Principal | None:
        """Who somebody is now whom this authenticator has named; None where that does not hold any more.

        Raises Unavailable where nobody can tell.
        """
        ...

    async def run(self) -> None:
        """Keep what it needs to know fresh, until cancelled."""
        ...


class Authentication:
    """Asks the authenticators, by the kind of name that they give. Where it is open, everybody may do everything.

    That is said, and not concluded from there being no authenticator: a mode that nobody knows must let nobody in.
    """

    def __init__(self, authenticators: dict[str, Authenticator], *, is_open: bool) -> None:
        self._authenticators = authenticators
        self.is_open = is_open
        self._recent: dict[bytes, tuple[Principal, float]] = {}

    def known(self, authorization: bytes) -> Principal | None:
        """Who sends a header that needs no waiting to be verified."""
        if self.is_open:
            return ANYBODY
        # On the way of every publish: what was found a moment ago needs no other look.
        recent = self._recent.get(authorization)
        if recent is not None and time.monotonic() < recent[1]:
            return recent[0]
        return self._look(authorization)

    def forget(self) -> None:
        """Look at every header anew."""
        self._recent.clear()

    def _look(self, authorization: bytes) -> Principal | None:
        token = bearer(authorization)
        authenticator = self._one_for(token)
        principal = None if authenticator is None else authenticator.known(token)
        if principal is not None:
            if len(self._recent) >= RECENT_MAX:
                self.forget()
            seconds = min(RECENT_SECONDS, (principal.expires_at or math.inf) - time.time())
            self._recent[authorization] = (principal, time.monotonic() + seconds)
        return principal

    async def verify(self, authorization: bytes) -> Principal:
        """Who sends an `Authorization` header. Raises Unauthenticated, and Unavailable where nobody can tell."""
        known = self.known(authorization)
        if known is not None:
            return known
        token = bearer(authorization)
        authenticator = self._one_for(token)
        if authenticator is None:
            raise Unauthenticated(SEND_CREDENTIALS)
        return await authenticator.verify(token)

    def current(self, principal: Principal) -> Principal | None:
        """Who somebody is now; None where the credentials were revoked."""
        if self.is_open:
            return principal
        authenticator = self._authenticators.get(principal.name.partition(":")[0])
        return None if authenticator is None else authenticator.current(principal)

    def check(self, principal: Principal) -> None:
        """Raises Unauthenticated where somebody's credentials ended, or grant something else by now.

        Raises Unavailable where nobody can tell.
        """
        current = self.current(principal)
        if current is None or current.grants != principal.grants or has_ended(principal) or has_ended(current):
            raise Unauthenticated("The credentials were revoked or changed, or have ended.")

    def _one_for(self, token: str) -> Authenticator | None:
        return next((each for each in self._authenticators.values() if token and each.accepts(token)), None)


def has_ended(principal: Principal) -> bool:
    return principal.expires_at is not None and principal.expires_at <= time.time()


def bearer(authorization: bytes) -> str:
    """The token of a header; empty where there is none."""
    if authorization[: len(SCHEME)].lower() != SCHEME:
        return ""
    return authorization[len(SCHEME) :].strip().decode("ascii", "replace")
