"""What the hot operations say to the server themselves, past what a framework puts in between."""

from collections.abc import Coroutine, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")

COMMENT = "factwire.comment"  # of a stream: what may be written between two parts of its body and means nothing
JSON = "application/json"
OUTLET = "factwire.outlet"
ADDED = "factwire.added-headers"
REQUEST_ID = "factwire.request-id"
STATUS = "factwire.status"
FORWARDED = frozenset(  # what proxies add
    (
        b"forwarded via x-forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-forwarded-port"
        b" x-forwarded-server x-forwarded-prefix x-forwarded-ssl x-forwarded-scheme x-forwarded-by"
        b" x-forwarded-client-cert x-original-forwarded-for x-real-ip x-client-ip x-cluster-client-ip true-client-ip"
        b" cf-connecting-ip cdn-loop x-envoy-external-address x-amzn-trace-id"
    ).split()
)
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
COPIED_BYTES_MAX = 16 * 1024


class Outlet(Protocol):
    """What our server adds to the scope of a request: a way to write that costs less than ASGI's."""

    def answer(self, status: int, headers: bytes, body: bytes) -> bool: ...

    def push(self, parts: Sequence[bytes]) -> bool: ...

    def unread(self) -> int: ...

    def cut(self) -> None: ...

    def has_left(self) -> bool: ...


class Exchange(Protocol):
    """A small request that has arrived whole, and the way to write its one answer: past ASGI, without a task."""

    scope: Scope
    whole_body: bytes

    def answer(self, status: int, headers: bytes, body: bytes) -> None: ...


class Shortcut(Protocol):
    """A way past ASGI for requests of one kind. Raises nothing."""

    def accepts(self, scope: Scope, by_name: Mapping[bytes, bytes]) -> bool:
        """Whether a request may take it, of which the headers are known: no two of them have one name."""
        ...

    def __call__(self, exchange: Exchange) -> None:
        """See to it that an exchange is answered, at once or later."""
        ...


class WouldWait(Exception):
    """What was asked for cannot be had at once."""


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that needs not wait, without the cost of a time limit. Raises WouldWait otherwise.

    It is for `receive` and `send` of the server. uvicorn waits for a message before it takes it, and for room in its
    buffer before it writes anything: what would have to wait was not done, not even in part.
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise WouldWait


def header(scope: Scope, name: bytes) -> bytes:
    """The value of a header; empty if there is none."""
    for given, value in scope["headers"]:
        if given == name:
            return bytes(value)
    return b""


def is_forwarded(scope: Scope) -> bool:
    """Whether a proxy says that it has passed a request on."""
    return any(name in FORWARDED for name, _ in scope["headers"])


def chunk(body: bytes) -> tuple[bytes, ...]:
    """A part of a body as a chunk (RFC 9112, section 7.1), without a copy of it where it is large."""
    if len(body) > COPIED_BYTES_MAX:
        return (b"%x\r\n" % len(body), body, b"\r\n")
    return (small_chunk(body),)


@lru_cache(8)
def small_chunk(body: bytes) -> bytes:
    """Many streams in a row get the same one."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def body_of(chunked: Sequence[bytes]) -> bytes:
    """The part of a body that a chunk holds."""
    whole = b"".join(chunked)
    return whole[whole.index(b"\n") + 1 : -2]


def outlet_of(scope: Scope) -> Outlet | None:
    outlet: Outlet | None = scope.get("state", {}).get(OUTLET)
    return outlet


def client_has_left(scope: Scope) -> bool:
    """Whether it is known, without waiting, that nobody is there any more."""
    outlet = outlet_of(scope)
    return outlet is not None and outlet.has_left()


class JsonAnswer(Response):
    """A response with a JSON body and nothing else to say, without the general way to build its headers."""

    body: bytes

    def __init__(self, body: bytes, status_code: int) -> None:
        self.body = body
        self.status_code = status_code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outlet = outlet_of(scope)
        headers = [(b"content-type", JSON.encode()), (b"content-length", b"%d" % len(self.body))]
        if outlet is None or not outlet.answer(self.status_code, self._lines(scope, headers), self.body):
            await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
            await send({"type": "http.response.body", "body": self.body})

    def _lines(self, scope: Scope, headers: list[tuple[bytes, bytes]]) -> bytes:
        """The header lines, with what is added to other responses on their way through `send`."""
        state = scope["state"]
        state[STATUS] = self.status_code
        added = ((b"x-request-id", state[REQUEST_ID]), *state.get(ADDED, ()))
        return b"".join([b"%b: %b\r\n" % header for header in (*headers, *added)])
