"""Audit of API keys that expire: a fact for each, published by one process at a time."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial

from uuid_utils import uuid7

from factwire.domain.audit import audit_fact
from factwire.domain.effect import RecordedExpiry
from factwire.domain.errors import EffectVoid
from factwire.domain.fact import utc
from factwire.jobs.leased import run_leased
from factwire.jobs.runner import Job
from factwire.publish.publisher import Publisher
from factwire.store.api_keys import unrecorded_expiries
from factwire.store.job_leases import JobLease
from factwire.store.pools import Pools, is_standby

NAME = "key-expiries"
INTERVAL_SECONDS = 5.0
LEASE_SECONDS = 30.0
KEYS_MAX = 100  # in one run


class KeyExpiries:
    """Publishes `KeyExpired` for each key at its expiry, unless the key was revoked before."""

    def __init__(self, pools: Pools, publisher: Publisher) -> None:
        self._pools = pools
        self._publisher = publisher

    @property
    def job(self) -> Job:
        return Job(NAME, INTERVAL_SECONDS, self.record)

    async def record(self) -> None:
        """Record the expiries of this moment. Nothing is done on a standby, or while another process does it."""
        async with self._pools.watch.acquire() as connection:
            if await is_standby(connection):
                return
            expired = await unrecorded_expiries(connection, keys_max=KEYS_MAX)
        if expired:
            await run_leased(self._pools, NAME, partial(self._publish, expired), seconds=LEASE_SECONDS)

    async def _publish(self, expired: Sequence[tuple[str, datetime]], lease: JobLease) -> None:
        """Record all expiries together: a key that fails holds up no other."""
        recording = [self._record(key_id, expires_at, lease) for key_id, expires_at in expired]
        for outcome in await asyncio.gather(*recording, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _record(self, key_id: str, expires_at: datetime, lease: JobLease) -> None:
        about, payload = f"key:{key_id}", {"expires_at": utc(expires_at)}
        fact = audit_fact("KeyExpired", id=str(uuid7()), by=NAME, about=about, payload=payload)
        with suppress(EffectVoid):  # recorded before, with an outcome that was lost; or revoked meanwhile
            await self._publisher.publish([fact], effects=(lease.held, RecordedExpiry(key_id)))
