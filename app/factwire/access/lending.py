"""What stands for credentials where a browser cannot send them: a ticket for one stream, a session for a page.

Both are random. The database keeps their digests and whose they are, so that every process knows them and a copy of the
database opens nothing. They never give more than the credentials with which they were asked for: who that is by now is
looked up each time.
"""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from secrets import token_urlsafe

import asyncpg

from factwire.access.granting import form_of, grants_from
from factwire.access.secrets import digest
from factwire.domain.errors import Unauthenticated, Unavailable
from factwire.domain.principal import Principal
from factwire.domain.query import Query
from factwire.store.database import Database
from factwire.store.sessions import begin_session, end_session, find_session, live_sessions
from factwire.store.tickets import issue_ticket, use_ticket

TICKET_PREFIX = "fwt_"
SESSION_PREFIX = "fws_"
LOOK_SECONDS = 5.0
SECRET_CHARACTERS = 43  # 32 random bytes
TICKETS_MAX = 1000  # of one principal, that no stream has used yet

Current = Callable[[Principal], Principal | None]
"""Who somebody is now, with the grants of now; None where the credentials were revoked."""


@dataclass(frozen=True, slots=True)
class Lent:
    """A secret that is shown once, when it ends by the clock of the database, and for how long it holds from now on."""

    secret: str
    expires_at: datetime
    seconds: float


class Tickets:
    """Each opens one stream of one query once."""

    def __init__(self, database: Database, current: Current, *, seconds: float) -> None:
        self._database = database
        self._current = current
        self._seconds = seconds

    async def issue(self, principal: Principal, query: Query) -> Lent:
        secret, seconds = TICKET_PREFIX + token_urlsafe(32), seconds_left(principal, self._seconds)
        async with session_held(), self._database.managing.reading() as connection:
            expires_at = await issue_ticket(
                connection,
                digest(secret),
                principal=written(principal),
                query=fingerprint(query),
                owner=owner(principal),
                tickets_max=TICKETS_MAX,
                seconds=seconds,
                session=principal.session or None,
            )
        return Lent(secret, expires_at, seconds)

    async def use(self, ticket: str, query: Query) -> Principal:
        """Use a ticket up, even where it is for another query. Raises Unauthenticated."""
        found = None
        if could_be(ticket, TICKET_PREFIX):
            async with self._database.managing.reading() as connection:
                found = await use_ticket(connection, digest(ticket))
        if found is None or found.query != fingerprint(query):
            raise Unauthenticated("The ticket was used, has ended, or is for another query: ask for a new one.")
        return replace(holding(found.principal, self._current), session=found.session or b"")


class Sessions:
    """Each is good for many requests until it ends, or the credentials or the session with which it was begun do.

    Streams ask for as long as they are open whether theirs has ended; the database is asked for all of them together.
    """

    def __init__(self, database: Database, current: Current, *, seconds: float, sessions_max: int) -> None:
        self._database = database
        self._current = current
        self._seconds = seconds
        self._sessions_max = sessions_max
        self._asked_for: set[bytes] = set()
        self._ended: set[bytes] = set()

    async def begin(self, principal: Principal) -> Lent:
        secret, seconds = SESSION_PREFIX + token_urlsafe(32), seconds_left(principal, self._seconds)
        async with session_held(), self._database.managing.reading() as connection:
            expires_at = await begin_session(
                connection,
                digest(secret),
                principal=written(principal),
                owner=owner(principal),
                sessions_max=self._sessions_max,
                seconds=seconds,
                session=principal.session or None,
            )
        return Lent(secret, expires_at, seconds)

    async def find(self, secret: str) -> Principal:
        """Whose a session is; it ends with the session at the latest. Raises Unauthenticated."""
        found = None
        if could_be(secret, SESSION_PREFIX):
            async with self._database.managing.reading() as connection:
                found = await find_session(connection, digest(secret))
        if found is None:
            raise Unauthenticated("The session has ended: begin a new one.")
        principal = holding(found.principal, self._current)
        expires_at = min(found.expires_at.timestamp(), principal.expires_at or math.inf)
        return replace(principal, expires_at=expires_at, session=digest(secret))

    async def end(self, secret: str) -> None:
        """End a session, and what came from it: its tickets, sessions begun with it, and the streams of all."""
        if could_be(secret, SESSION_PREFIX):
            async with self._database.managing.reading() as connection:
                await end_session(connection, digest(secret))

    def check(self, principal: Principal) -> None:
        """Raises Unauthenticated where somebody came by a session that is known to have ended."""
        if principal.session:
            self._asked_for.add(principal.session)
            if principal.session in self._ended:
                raise Unauthenticated("The session has ended.")

    async def run(self) -> None:
        """Find out which sessions of open streams have ended, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            asked_for, self._asked_for = self._asked_for, set()
            if asked_for:
                with suppress(Unavailable):
                    async with self._database.watching.reading() as connection:
                        self._ended = asked_for - await live_sessions(connection, asked_for)


@asynccontextmanager
async def session_held() -> AsyncIterator[None]:
    """Raises Unauthenticated where the session from which something is to come has ended meanwhile."""
    try:
        yield
    except asyncpg.ForeignKeyViolationError:
        raise Unauthenticated("The session has ended: begin a new one.") from None


def holding(principal: str, current: Current) -> Principal:
    """Who a stored principal is now. Raises Unauthenticated where the credentials were revoked or have ended."""
    found = current(read(principal))
    if found is None or (found.expires_at or math.inf) <= time.time():
        raise Unauthenticated("The credentials behind it were revoked or have ended.")
    return found


def could_be(secret: str, prefix: str) -> bool:
    """Whether it looks like one, so that nonsense costs no question to the database."""
    return len(secret) == len(prefix) + SECRET_CHARACTERS and secret.startswith(prefix) and secret.isascii()


def fingerprint(query: Query) -> bytes:
    """The same for queries that ask for the same, in whatever order their items stand."""
    items = sorted([item.namespaces, item.types, item.tags] for item in query.items)
    return sha256(json.dumps(items).encode()).digest()


def seconds_left(principal: Principal, seconds: float) -> float:
    """For how long to lend, which is never longer than the credentials hold."""
    return max(0.0, min(seconds, (principal.expires_at or math.inf) - time.time()))


def written(principal: Principal) -> str:
    return json.dumps([principal.name, form_of(principal.grants), principal.expires_at, principal.credential])


def owner(principal: Principal) -> str:
    """The beginning that the stored texts of a principal have in common, whatever its grants and credentials are."""
    return json.dumps([principal.name]).removesuffix("]") + ", "


def read(text: str) -> Principal:
    name, grants, expires_at, credential = json.loads(text)
    return Principal(name, grants_from(grants), expires_at, credential)
