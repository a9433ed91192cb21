"""Spending: what a request uses of the allowances of its address and of its principal, where there are limits."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from factwire.api.http.direct_response import header
from factwire.limits.quotas import Quotas

QUOTA_USERS = "factwire.spenders"

Pace = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class QuotaUser:
    """A user whose allowances a request uses."""

    quotas: Quotas
    user: str


def begin_request(scope: Scope, quotas: Quotas, user: str) -> None:
    """Count a request for one user, and from then on what it uses. Raises RateLimited."""
    declared = header(scope, b"content-length")
    quotas.begin(user, int(declared) if declared.isdigit() else 0)
    scope["state"].setdefault(QUOTA_USERS, []).append(QuotaUser(quotas, user))


def quota_users_of(scope: Scope) -> list[QuotaUser]:
    quota_users: list[QuotaUser] = scope["state"].get(QUOTA_USERS, [])
    return quota_users


def count_body(scope: Scope, receive: Receive) -> Receive:
    """How the body is received: counted on its way where its length was not declared."""
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
    """For a request that publishes for long: waits until so many more facts are allowed."""

    async def pace(facts: int) -> None:
        for quota_user in quota_users_of(scope):
            await quota_user.quotas.pace(quota_user.user, facts)

    return pace


def has_seat(scope: Scope) -> bool:
    """Whether the users of a request may open one more stream."""
    return all(quota_user.quotas.has_stream_slot(quota_user.user) for quota_user in quota_users_of(scope))


def counted_stream(scope: Scope, stream: Response, otherwise: Callable[[], Response]) -> Response:
    """A stream that takes its seats while it is open; something else where they were taken meanwhile."""
    quota_users = quota_users_of(scope)
    return CountedStream(quota_users, stream, otherwise) if quota_users else stream


class CountedStream(Response):
    """An answer that counts as an open stream for as long as it is sent."""

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
