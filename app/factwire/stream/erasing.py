"""Erasing and redacting in a process that keeps payloads ready for its streams."""

from collections.abc import Awaitable, Callable

from factwire.domain.principal import Principal
from factwire.store import erasing
from factwire.store.auditing import changing
from factwire.store.database import Connection, Database
from factwire.store.erasing import Erasure
from factwire.stream.tail import Tail


class Erasing:
    """Erases in the database, and then in the memory of this process, before anybody is told that it is done.

    Other processes forget what they keep at their next look at the log.
    """

    def __init__(self, database: Database, tail: Tail, *, on_erased: Callable[[], None]) -> None:
        self._database = database
        self._tail = tail
        self._on_erased = on_erased

    async def erase_data_subject(self, data_subject: str, *, by: Principal) -> Erasure:
        """Raises DataSubjectNotFound, Unavailable or OutcomeUnknown. Erasing again is safe."""
        return await self._run(lambda connection: erasing.erase_data_subject(connection, data_subject, by=by.name))

    async def redact_fact(self, id: str, *, reason: str, by: Principal) -> Erasure:
        """Raises FactNotFound, FactReserved, Unavailable or OutcomeUnknown. Redacting again is safe."""
        within = by.grants.manage
        return await self._run(
            lambda connection: erasing.redact_fact(connection, id, reason=reason, by=by.name, within=within)
        )

    async def _run(self, erase: Callable[[Connection], Awaitable[Erasure]]) -> Erasure:
        self._tail.refuse_on_standby()
        async with changing(self._database.managing) as connection:
            erasure = await erase(connection)
        self._tail.forget(erasure.count)
        self._tail.hint()
        self._on_erased()
        return erasure
