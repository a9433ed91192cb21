"""Erasing and redacting in a process that keeps payloads ready for its streams."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from app.domain.errors import FactwireError, OutcomeUnknown, Unavailable
from app.store import erasing
from app.store.appending import is_certainly_not_written
from app.store.database import Connection, Database
from app.store.erasing import Erasure
from app.stream.tail import Tail
from app.telemetry.logs import said

log = logging.getLogger(__name__)


class Erasing:
    """Erases in the database, and then in the memory of this process, before anybody is told that it is done.

    Other processes forget what they keep at their next look at the log.
    """

    def __init__(self, database: Database, tail: Tail, *, on_erased: Callable[[], None]) -> None:
        self._database = database
        self._tail = tail
        self._on_erased = on_erased

    async def erase_data_subject(self, data_subject: str, *, by: str) -> Erasure:
        """Raises DataSubjectNotFound, Unavailable or OutcomeUnknown. Erasing again is safe."""
        return await self._run(lambda connection: erasing.erase_data_subject(connection, data_subject, by=by))

    async def redact_fact(self, id: str, *, reason: str, by: str) -> Erasure:
        """Raises FactNotFound, FactReserved, Unavailable or OutcomeUnknown. Redacting again is safe."""
        return await self._run(lambda connection: erasing.redact_fact(connection, id, reason=reason, by=by))

    async def _run(self, erase: Callable[[Connection], Awaitable[Erasure]]) -> Erasure:
        try:
            # A keeper hears the warning of a commit that a fail-over may lose.
            async with aclosing(self._database.reading.keeper()) as keeper, keeper.lent() as connection:
                erasure = await erase(connection)
        except FactwireError:
            raise
        except Exception as error:
            log.warning("an erasure failed: %s", said(error))
            if is_certainly_not_written(error):
                raise Unavailable("The database could not do this; nothing was changed.") from error
            raise OutcomeUnknown from error
        self._tail.forget(erasure.count)
        self._tail.hint()
        self._on_erased()
        return erasure
