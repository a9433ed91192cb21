"""Audit log: each audited change is made in one transaction with the fact that records it."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager

import asyncpg

from factwire.domain.errors import HistoryForked, OutcomeUnknown, Unavailable
from factwire.domain.fact import NewFact
from factwire.store.append import append, forked_after_of, is_certainly_not_written, is_forked
from factwire.store.connection import Connection
from factwire.store.held_connection import CommitInDoubt, HeldConnection
from factwire.store.pools import CONNECTION_FAILURES, Pool

log = logging.getLogger(__name__)

IN_DOUBT = "It is unknown if the change was made. Check before you repeat it."


@asynccontextmanager
async def audited_change(connection: Connection, audit: NewFact) -> AsyncIterator[None]:
    """Make a change and append the fact that records it, in one transaction.

    The fact comes last: the lock of the log is held from then until the commit.
    """
    async with connection.transaction(isolation="read_committed"):
        yield
        with raising_forks():
            await append(connection, [([audit], None)])


@contextmanager
def raising_forks() -> Iterator[None]:
    """Raise HistoryForked if append reports that history was replaced."""
    try:
        yield
    except asyncpg.PostgresError as error:
        if not is_forked(error):
            raise
        raise HistoryForked(forked_after=forked_after_of(error)) from None


@asynccontextmanager
async def acquire_for_change(lane: Pool) -> AsyncIterator[Connection]:
    """Lend a connection for a change.

    Raises Unavailable if the change was certainly not made, and OutcomeUnknown if that cannot be determined.
    """
    try:
        async with aclosing(HeldConnection(lane)) as keeper, keeper as connection:
            with raising_forks():
                yield connection
    except (*CONNECTION_FAILURES, CommitInDoubt, asyncpg.QueryCanceledError, asyncpg.CheckViolationError) as error:
        if is_certainly_not_written(error):
            raise Unavailable("The database could not make the change.") from error
        log.warning("it is unknown if a change was made: %s", type(error).__name__)
        raise OutcomeUnknown(detail=IN_DOUBT) from error
