"""Authentication: maps the credentials of a request to a principal, and checks them while the response lasts."""

import math
import time
from typing import Protocol

from factwire.domain.errors import Unauthenticated
from factwire.domain.principal import ANYBODY, Principal

SCHEME = b"bearer "
RECENT_SECONDS = 1.0
RECENT_MAX = 4096
SEND_CREDENTIALS = "Send valid credentials as `Authorization: Bearer …`."


class Authenticator(Protocol):
    """Authenticator for one kind of credentials."""

    def accepts(self, token: str) -> bool:
        """True if a token is of this kind."""
        ...

    def known(self, token: str) -> Principal | None:
        """Principal of a token that can be verified without waiting; None for any other token."""
        ...

    async def verify(self, token: str) -> Principal:
        """Principal of a token. Raises Unauthenticated, and Unavailable if this cannot be determined."""
        ...

    def current(self, principal: Principal) -> Principal | None:
        """Current state of a principal of this authenticator; None if it is not valid any more.

        Raises Unavailable if this cannot be determined.
        """
        ...

    async def run(self) -> None:
        """Keep the verification data fresh until cancelled."""
        ...


class Authentication:
    """Authenticators by the prefix of their principal names. In open mode, each caller may do everything.

    `is_open` is set explicitly and not derived from an empty set of authenticators: an unknown mode must not admit any
    caller.
    """

    def __init__(self, authenticators: dict[str, Authenticator], *, is_open: bool) -> None:
        self._authenticators = authenticators
        self.is_open = is_open
        self._recent: dict[bytes, tuple[Principal, float]] = {}

    def known(self, authorization: bytes) -> Principal | None:
        """Principal of a header that can be verified without waiting; None for any other header."""
        if self.is_open:
            return ANYBODY
        # Hot path of every publish: a recent result is used again without another verification.
        recent = self._recent.get(authorization)
        if recent is not None and time.monotonic() < recent[1]:
            return recent[0]
        return self._look(authorization)

    def forget(self) -> None:
        """Discard the recent results, so that every header is verified again."""
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
        """Principal of an `Authorization` header. Raises Unauthenticated, and Unavailable if this is not known."""
        known = self.known(authorization)
        if known is not None:
            return known
        token = bearer(authorization)
        authenticator = self._one_for(token)
        if authenticator is None:
            raise Unauthenticated(SEND_CREDENTIALS)
        return await authenticator.verify(token)

    def current(self, principal: Principal) -> Principal | None:
        """Current state of a principal; None if its credentials were revoked."""
        if self.is_open:
            return principal
        authenticator = self._authenticators.get(principal.name.partition(":")[0])
        return None if authenticator is None else authenticator.current(principal)

    def check(self, principal: Principal) -> None:
        """Raises Unauthenticated if the credentials have ended, or now have other grants.

        Raises Unavailable if this cannot be determined.
        """
        current = self.current(principal)
        if current is None or current.grants != principal.grants or has_ended(principal) or has_ended(current):
            raise Unauthenticated("The credentials were revoked, changed, or have expired.")

    def _one_for(self, token: str) -> Authenticator | None:
        return next((each for each in self._authenticators.values() if token and each.accepts(token)), None)


def has_ended(principal: Principal) -> bool:
    return principal.expires_at is not None and principal.expires_at <= time.time()


def bearer(authorization: bytes) -> str:
    """Token of a header; empty if the header has no bearer token."""
    if authorization[: len(SCHEME)].lower() != SCHEME:
        return ""
    return authorization[len(SCHEME) :].strip().decode("ascii", "replace")
