"""Rate limits: the usage of a request, counted against the quotas of its address and of its principal, if any."""

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
    """User of a quota: an address or a principal that a request counts for."""

    quotas: Quotas
    user: str


def begin_request(scope: Scope, quotas: Quotas, user: str) -> None:
    """Count a request for one user, and from then on its usage. Raises RateLimited."""
    declared = header(scope, b"content-length")
    quotas.begin(user, int(declared) if declared.isdigit() else 0)
    scope["state"].setdefault(QUOTA_USERS, []).append(QuotaUser(quotas, user))


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
