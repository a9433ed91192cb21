"""Log of refused publishes: one line for each cause, and then one at intervals."""

import logging
from contextlib import suppress
from time import perf_counter

import asyncpg

from factwire.domain.errors import FactwireError, Unavailable
from factwire.store.pools import Pools
from factwire.store.privileges import missing_privileges
from factwire.telemetry.logs import describe_error

log = logging.getLogger(__name__)

LOG_SECONDS = 10.0


class RefusalLog:
    """Counts the publishes that a failing database refuses, and logs the reason."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._refused = 0
        self._reason = ""
        self._logged_at = 0.0

    async def note(self, count: int, refusal: FactwireError, cause: BaseException) -> None:
        """Log the reason for refused publishes: at once if it is new, else at intervals with the count."""
        reason = f"{refusal.code}: {describe_error(cause)}"
        self._refused = count if reason != self._reason else self._refused + count
        if reason != self._reason or perf_counter() > self._logged_at + LOG_SECONDS:
            log.warning(
                "%d publishes were refused as %s%s", self._refused, reason, await self._missing_rights_hint(cause)
            )
            self._refused, self._reason, self._logged_at = 0, reason, perf_counter()

    async def _missing_rights_hint(self, cause: BaseException) -> str:
        """Hint at missing database privileges, if they are the cause; otherwise empty."""
        if isinstance(cause, asyncpg.InsufficientPrivilegeError):
            with suppress(Unavailable):
                async with self._pools.read() as connection:
                    lacking = await missing_privileges(connection)
                if lacking and lacking.grants:
                    return f"; as {lacking.owner}: {'; '.join(lacking.grants)}"
        return ""
