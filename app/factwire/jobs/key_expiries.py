"""Audit of API keys that expire: a fact for each, published by one process at a time."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from uuid import UUID, uuid5

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

IDS = UUID("f1c41d39-c75a-4581-9ec4-ca8c83895058")
"""The fact of a key has an id of its own, made from that of the key: no key can expire twice."""


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
        for key_id, expires_at in expired:
            payload = {"expires_at": utc(expires_at)}
            id = str(uuid5(IDS, key_id))
            fact = audit_fact("KeyExpired", id=id, by=NAME, about=f"key:{key_id}", payload=payload, chosen_id=True)
            with suppress(EffectVoid):  # another process was first, or the key was revoked meanwhile
                await self._publisher.publish([fact], effects=(lease.held, RecordedExpiry(key_id)))
