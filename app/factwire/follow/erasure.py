"""Erasure and redaction in a process that keeps payloads in memory for its streams."""

from collections.abc import Awaitable, Callable

from factwire.domain.principal import Principal
from factwire.follow.tail import Tail
from factwire.store import erasure
from factwire.store.audit_log import acquire_for_change
from factwire.store.connection import Connection
from factwire.store.erasure import Erasure
from factwire.store.pools import Pools


class Eraser:
    """Erases in the database and then in the memory of this process, before the caller gets the confirmation.

    Other processes drop the payloads that they keep when they next read the log.
    """

    def __init__(self, pools: Pools, tail: Tail, *, on_erased: Callable[[], None]) -> None:
        self._pools = pools
        self._tail = tail
        self._on_erased = on_erased

    async def erase_data_subject(self, data_subject: str, *, by: Principal) -> Erasure:
        """Erase a data subject. Raises DataSubjectNotFound, Unavailable or OutcomeUnknown. Erasing again is safe."""
        return await self._run(lambda connection: erasure.erase_data_subject(connection, data_subject, by=by.name))

    async def redact_fact(self, id: str, *, reason: str, by: Principal) -> Erasure:
        """Redact a fact. Raises FactNotFound, FactReserved, Unavailable or OutcomeUnknown. Redacting again is safe."""
        within = by.grants.manage
        return await self._run(
            lambda connection: erasure.redact_fact(connection, id, reason=reason, by=by.name, within=within)
        )

    async def _run(self, erase: Callable[[Connection], Awaitable[Erasure]]) -> Erasure:
        self._tail.refuse_on_standby()
        async with acquire_for_change(self._pools.manage) as connection:
            erasure = await erase(connection)
        self._tail.forget(erasure.count)
        self._tail.hint()
        self._on_erased()
        return erasure
