"""Principals, which make requests, and readers, which restrict queries to their grants."""

from collections.abc import Callable
from dataclasses import dataclass

from factwire.domain.grants import EVERY_NAMESPACE, EVERYTHING, Grants, NamespaceSet
from factwire.domain.query import Query, restricted


@dataclass(frozen=True, slots=True)
class Principal:
    """A person or a program, with its grants.

    `name` identifies it in logs and in the audit, and is not secret. `expires_at` is the end of the credentials, in
    seconds since 1970; None if they do not end. `credential` identifies the one of several that was used: one of two
    secrets of a key, or the key that signed a token and the rules by which it was read. It is not secret either.
    `session` is the digest of the session that was used.
    """

    name: str
    grants: Grants
    expires_at: float | None = None
    credential: str = ""
    session: bytes = b""


ANYBODY = Principal("anybody", EVERYTHING)


def unchecked() -> None:
    """Check for open mode, in which credentials never end."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reader of facts, perhaps for hours: its readable namespaces, and the check that they are still readable.

    `check` raises Unauthenticated once the credentials were revoked, were changed, or have ended. `name` is that of the
    principal.
    """

    readable: NamespaceSet = EVERY_NAMESPACE
    check: Callable[[], None] = unchecked
    name: str = ANYBODY.name

    def sees(self, query: Query) -> Query:
        """Restrict a query to the readable namespaces, as if there were no others."""
        return restricted(query, self.readable)


ANY_READER = Reader()
