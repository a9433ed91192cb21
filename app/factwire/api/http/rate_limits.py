"""Rate limits: the usage of a request, counted against the quotas of its address and of its principal, if any."""

import math
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from factwire.api.http.direct_response import ADDED, Headers, header
from factwire.limits.quotas import Quotas

QUOTA_USERS = "factwire.spenders"

Pace = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class QuotaUser:
    """User of a quota: an address or a principal that a request counts for."""

    quotas: Quotas
    user: str


@dataclass(frozen=True, slots=True)
class RateLimitHeaders:
    """Headers that a response gets from middleware, with the rate limits as they are when it is sent.

    The fields are those of draft-ietf-httpapi-ratelimit-headers-09: quota (q) of a window (w) in a unit (qu), and what
    remains (r) until a time in seconds (t).
    """

    others: Headers
    quota_users: list[QuotaUser]

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        yield from self.others
        rates = [(unit, rate, each.user) for each in self.quota_users for unit, rate in each.quotas.rates.items()]
        policies = [f'"{rate.name}";q={rate.quota};w={rate.window_seconds};qu="{unit}"' for unit, rate, _ in rates]
        left = [
            f'"{rate.name}";r={rate.remaining(user)};t={math.ceil(rate.seconds_left(user))}' for _, rate, user in rates
        ]
        if rates:
            yield b"ratelimit-policy", ", ".join(policies).encode()
            yield b"ratelimit", ", ".join(left).encode()


def begin_request(scope: Scope, quotas: Quotas, user: str) -> None:
    """Count a request for one user, and from then on its usage. Raises RateLimited."""
    declared = header(scope, b"content-length")
    state = scope["state"]
    if QUOTA_USERS not in state:
        state[QUOTA_USERS] = []
        state[ADDED] = RateLimitHeaders(state.get(ADDED, ()), state[QUOTA_USERS])
    state[QUOTA_USERS].append(QuotaUser(quotas, user))
    quotas.begin(user, int(declared) if declared.isdigit() else 0)


def quota_users_of(scope: Scope) -> list[QuotaUser]:
    quota_users: list[QuotaUser] = scope["state"].get(QUOTA_USERS, [])
    return quota_users


def count_body(scope: Scope, receive: Receive) -> Receive:
    """Receiver of the body, which counts bytes as they arrive if the length was not declared."""
    return receive if header(scope, b"content-length") else partial(receive_counted, scope, receive)


async def receive_counted(scope: Scope, receive: Receive) -> Message:
    message = await receive()
    for quota_user in quota_users_of(scope):
        quota_user.quotas.spend_bytes(quota_user.user, len(message.get("body", b"")))
    return message


def spend_facts(scope: Scope, count: int) -> None:
    """Count facts that are to be published. Raises RateLimited."""
    for quota_user in quota_users_of(scope):
        quota_user.quotas.spend_facts(quota_user.user, count)


def pace_of(scope: Scope) -> Pace:
    """Back-pressure for a request that publishes for a long time: waits until that many more facts are allowed."""

    async def pace(facts: int) -> None:
        for quota_user in quota_users_of(scope):
            await quota_user.quotas.pace(quota_user.user, facts)

    return pace


def has_seat(scope: Scope) -> bool:
    """True if the users of a request may open one more stream."""
    return all(quota_user.quotas.has_stream_slot(quota_user.user) for quota_user in quota_users_of(scope))


def counted_stream(scope: Scope, stream: Response, otherwise: Callable[[], Response]) -> Response:
    """Stream that takes its slots while it is open; the response of `otherwise` if they were taken meanwhile."""
    quota_users = quota_users_of(scope)
    return CountedStream(quota_users, stream, otherwise) if quota_users else stream


class CountedStream(Response):
    """Response that counts as an open stream while it is sent."""

    def __init__(self, quota_users: list[QuotaUser], stream: Response, otherwise: Callable[[], Response]) -> None:
        self._quota_users = quota_users
        self._stream = stream
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not has_seat(scope):
            await self._otherwise()(scope, receive, send)
            return
        for quota_user in self._quota_users:
            quota_user.quotas.take_stream_slot(quota_user.user)
        try:
            await self._stream(scope, receive, send)
        finally:
            for quota_user in self._quota_users:
                quota_user.quotas.leave(quota_user.user)
