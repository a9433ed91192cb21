"""Quotas of one client address or one principal in a process."""

import asyncio
import time
from collections import Counter
from dataclasses import astuple, dataclass, fields

from factwire.domain.errors import RateLimited
from factwire.limits.rate_limiter import Rate
from factwire.settings import Settings

USERS_MAX = 50_000  # kept in memory for each rate
REQUESTS_WINDOW_SECONDS = 1
AMOUNTS_WINDOW_SECONDS = 10  # one request may bring many bytes and facts at once
PACE_SECONDS_MAX = 30.0


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """Limits of one user; None means unlimited."""

    requests_per_second: int | None = None
    bytes_per_second: int | None = None
    facts_per_second: int | None = None
    streams_max: int | None = None

    @property
    def are_set(self) -> bool:
        return any(limit is not None for limit in astuple(self))


class Quotas:
    """Quotas of every user of one kind, `address` or `principal`, counted in this process alone.

    `rates` are the limited rates by their unit.
    """

    def __init__(self, kind: str, limits: QuotaLimits) -> None:
        self._requests = rate(f"{kind}_requests_per_second", limits.requests_per_second, REQUESTS_WINDOW_SECONDS)
        self._bytes = rate(f"{kind}_bytes_per_second", limits.bytes_per_second, AMOUNTS_WINDOW_SECONDS)
        self._facts = rate(f"{kind}_facts_per_second", limits.facts_per_second, AMOUNTS_WINDOW_SECONDS)
        self.rates = {
            unit: rate
            for unit, rate in (("requests", self._requests), ("content-bytes", self._bytes), ("facts", self._facts))
            if rate is not None
        }
        self._streams_max = limits.streams_max
        self._streams: Counter[str] = Counter()

    def begin(self, user: str, body_bytes: int) -> None:
        """Count a request and the declared length of its body. Raises RateLimited."""
        take_or_refuse(self._requests, user, 1)
        take_or_refuse(self._bytes, user, body_bytes)

    def spend_bytes(self, user: str, count: int) -> None:
        """Count received bytes of a body of unknown length. If they exceed the quota, the next request is refused."""
        if self._bytes is not None:
            self._bytes.take(user, count)

    def spend_facts(self, user: str, count: int) -> None:
        """Count facts that are to be published together. Raises RateLimited."""
        take_or_refuse(self._facts, user, count)

    async def pace(self, user: str, facts: int) -> None:
        """Count facts of a long request, which waits for a while before it is refused. Raises RateLimited."""
        for each, count in ((self._bytes, 0), (self._facts, facts)):
            if each is not None:
                await take_or_wait(each, user, count)

    def has_stream_slot(self, user: str) -> bool:
        """True if a user may open one more stream."""
        return self._streams_max is None or self._streams[user] < self._streams_max

    def take_stream_slot(self, user: str) -> None:
        self._streams[user] += 1

    def leave(self, user: str) -> None:
        self._streams[user] -= 1
        if self._streams[user] <= 0:
            del self._streams[user]


def quotas_of(settings: Settings, kind: str) -> Quotas | None:
    """Quotas from the settings for each `address` or `principal`; None if the settings limit nothing."""
    limits = QuotaLimits(**{field.name: getattr(settings, f"{kind}_{field.name}") for field in fields(QuotaLimits)})
    return Quotas(kind, limits) if limits.are_set else None


def rate(name: str, per_second: int | None, window_seconds: int) -> Rate | None:
    if per_second is None:
        return None
    return Rate(name, per_second, window_seconds=window_seconds, users_max=USERS_MAX)


def take_or_refuse(rate: Rate | None, user: str, amount: int) -> None:
    if rate is not None and not rate.take(user, amount):
        raise RateLimited(rate.name, retry_after_seconds=rate.retry_after_seconds(user))


async def take_or_wait(rate: Rate, user: str, amount: int) -> None:
    """Take an amount once there is something left. Raises RateLimited after a deadline.

    Other requests of the same user may be faster each time.
    """
    deadline = time.monotonic() + PACE_SECONDS_MAX
    while not rate.take(user, amount):
        if time.monotonic() > deadline:
            raise RateLimited(rate.name, retry_after_seconds=rate.retry_after_seconds(user))
        await asyncio.sleep(rate.seconds_left(user))
