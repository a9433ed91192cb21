"""Who makes a request."""

from collections.abc import Callable
from dataclasses import dataclass

from factwire.domain.grants import EVERY_NAMESPACE, EVERYTHING, Grants, NamespaceSet
from factwire.domain.query import Query, restricted


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody, or some program, and what they may do.

    `name` says who it is in logs and in the audit, and is no secret. `expires_at` is when the credentials end, in
    seconds since 1970; None where they do not. `credential` tells which of several were used: one of two secrets of a
    key, or the key that signed a token and the rules by which it was read. It is no secret either. `session` is the
    digest of the session by which somebody came.
    """

    name: str
    grants: Grants
    expires_at: float | None = None
    credential: str = ""
    session: bytes = b""


ANYBODY = Principal("anybody", EVERYTHING)


def unchecked() -> None:
    """The credentials of anybody never end."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who reads, perhaps for hours: what is there to see, and whether it still is.

    `check` raises Unauthenticated once the credentials were revoked, were changed, or have ended. `name` is that of the
    principal.
    """

    readable: NamespaceSet = EVERY_NAMESPACE
    check: Callable[[], None] = unchecked
    name: str = ANYBODY.name

    def sees(self, query: Query) -> Query:
        """What a query finds for this reader: as if there were nothing else."""
        return restricted(query, self.readable)


ANY_READER = Reader()
