"""Spending: what a request uses of the allowances of its address and of its principal, where there are limits."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from factwire.access.allowances import Allowances
from factwire.api.asgi import header

SPENDERS = "factwire.spenders"

Pace = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Spender:
    """A user whose allowances a request uses."""

    allowances: Allowances
    user: str


def begin(scope: Scope, allowances: Allowances, user: str) -> None:
    """Count a request for one user, and from then on what it uses. Raises RateLimited."""
    declared = header(scope, b"content-length")
    allowances.begin(user, int(declared) if declared.isdigit() else 0)
    scope["state"].setdefault(SPENDERS, []).append(Spender(allowances, user))


def spenders_of(scope: Scope) -> list[Spender]:
    spenders: list[Spender] = scope["state"].get(SPENDERS, [])
    return spenders


def counted(scope: Scope, receive: Receive) -> Receive:
    """How the body is received: counted on its way where its length was not declared."""
    return receive if header(scope, b"content-length") else partial(receive_counted, scope, receive)


async def receive_counted(scope: Scope, receive: Receive) -> Message:
    message = await receive()
    for spender in spenders_of(scope):
        spender.allowances.spend_bytes(spender.user, len(message.get("body", b"")))
    return message


def spend_facts(scope: Scope, count: int) -> None:
    """Count facts that are to be published. Raises RateLimited."""
    for spender in spenders_of(scope):
        spender.allowances.spend_facts(spender.user, count)


def pace_of(scope: Scope) -> Pace:
    """For a request that publishes for long: waits until so many more facts are allowed."""

    async def pace(facts: int) -> None:
        for spender in spenders_of(scope):
            await spender.allowances.pace(spender.user, facts)

    return pace


def has_seat(scope: Scope) -> bool:
    """Whether the users of a request may open one more stream."""
    return all(spender.allowances.has_seat(spender.user) for spender in spenders_of(scope))


def seated(scope: Scope, stream: Response, otherwise: Callable[[], Response]) -> Response:
    """A stream that takes its seats while it is open; something else where they were taken meanwhile."""
    spenders = spenders_of(scope)
    return Seated(spenders, stream, otherwise) if spenders else stream


class Seated(Response):
    """An answer that counts as an open stream for as long as it is sent."""

    def __init__(self, spenders: list[Spender], stream: Response, otherwise: Callable[[], Response]) -> None:
        self._spenders = spenders
        self._stream = stream
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not has_seat(scope):
            await self._otherwise()(scope, receive, send)
            return
        for spender in self._spenders:
            spender.allowances.sit(spender.user)
        try:
            await self._stream(scope, receive, send)
        finally:
            for spender in self._spenders:
                spender.allowances.leave(spender.user)
