"""Direct responses: hot operations write to the connection, bypassing ASGI's send() and the framework around it."""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")

Headers = Iterable[tuple[bytes, bytes]]

COMMENT = "factwire.comment"  # of a stream: bytes without meaning that may be written between two parts of its body
JSON = "application/json"
WRITER = "factwire.writer"
LEAVES_AT_END = "factwire.leaves-at-end"  # a client that sends nothing more, not even another request, has left
ON_LEFT = "factwire.on-left"  # called when the client leaves before it has the whole response
BY_NAME = "factwire.headers-by-name"  # of a scope: its headers, if no two of them share a name
ADDED = "factwire.added-headers"
REQUEST_ID = "factwire.request-id"
STATUS = "factwire.status"
FORWARDED = frozenset(  # headers that proxies add
    (
        b"forwarded via x-forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-forwarded-port"
        b" x-forwarded-server x-forwarded-prefix x-forwarded-ssl x-forwarded-scheme x-forwarded-by"
        b" x-forwarded-client-cert x-original-forwarded-for x-real-ip x-client-ip x-cluster-client-ip true-client-ip"
        b" cf-connecting-ip cdn-loop x-envoy-external-address x-amzn-trace-id"
    ).split()
)
JSON_LINES = b"content-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
COPIED_BYTES_MAX = 16 * 1024


class ResponseWriter(Protocol):
    """Writer of the response of one request to its connection. The server puts it into the scope."""

    def watch(self, on_left: Callable[[], None], *, at_end: bool = False) -> None: ...

    def answer(self, status: int, headers: bytes, body: bytes) -> bool: ...

    def push(self, parts: Sequence[bytes]) -> bool: ...

    def unread(self) -> int: ...

    def cut(self) -> None: ...

    def has_left(self) -> bool: ...


class WholeRequest(Protocol):
    """Small request that has arrived completely, and the writer of its only response."""

    scope: Scope
    whole_body: bytes

    def answer(self, status: int, headers: bytes, body: bytes) -> bool: ...


class Shortcut(Protocol):
    """Handler for requests of one operation, without ASGI and without a task. Raises nothing."""

    def accepts(self, scope: Scope) -> bool:
        """True if this handler can take the request. Its headers are known, and no two of them share a name."""
        ...

    def __call__(self, request: WholeRequest) -> None:
        """Answer a request, at once or later."""
        ...


class WouldWait(Exception):
    """The result is not available without waiting."""


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Result of a coroutine that need not wait, without the cost of a time limit. Raises WouldWait if it would wait.

    For `receive` and `send` of the server. uvicorn waits for a message before it takes it, and for room in its buffer
    before it writes anything: an operation that would have to wait was not done, not even in part.
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise WouldWait


def header(scope: Scope, name: bytes) -> bytes:
    """Value of a header; empty if the header is missing."""
    if BY_NAME in scope:
        found: bytes = scope[BY_NAME].get(name, b"")
        return found
    for given, value in scope["headers"]:
        if given == name:
            return bytes(value)
    return b""


def is_forwarded(scope: Scope) -> bool:
    """True if a header shows that a proxy has forwarded the request."""
    if BY_NAME in scope:
        return not FORWARDED.isdisjoint(scope[BY_NAME])
    return any(name in FORWARDED for name, _ in scope["headers"])


def chunk(body: bytes) -> tuple[bytes, ...]:
    """Part of a body as a chunk (RFC 9112, section 7.1); a large part is not copied."""
    if len(body) > COPIED_BYTES_MAX:
        return (b"%x\r\n" % len(body), body, b"\r\n")
    return (small_chunk(body),)


@lru_cache(8)
def small_chunk(body: bytes) -> bytes:
    """Chunk of a small part, cached because many streams in a row get the same part."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def body_of(chunked: Sequence[bytes]) -> bytes:
    """Part of a body that a chunk contains."""
    whole = b"".join(chunked)
    return whole[whole.index(b"\n") + 1 : -2]


def writer_of(scope: Scope) -> ResponseWriter | None:
    writer: ResponseWriter | None = scope.get("state", {}).get(WRITER)
    return writer


def client_has_left(scope: Scope) -> bool:
    """True if it is known, without waiting, that the client has disconnected."""
    writer = writer_of(scope)
    return writer is not None and writer.has_left()


class JsonAnswer(Response):
    """JSON response that is written directly if the server offers that."""

    body: bytes

    def __init__(self, body: bytes, status_code: int) -> None:
        self.body = body
        self.status_code = status_code
        self.raw_headers = [(b"content-type", JSON.encode()), (b"content-length", b"%d" % len(body))]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = writer_of(scope)
        if writer is None or not write_json(writer, scope, self.status_code, self.body):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": self.body})


def write_json(writer: ResponseWriter | WholeRequest, scope: Scope, status: int, body: bytes) -> bool:
    """Write a whole JSON response, with its headers formatted at once: this runs for every publish."""
    state = scope["state"]
    state[STATUS] = status
    lines = JSON_LINES % (len(body), state[REQUEST_ID])
    return writer.answer(status, lines + header_lines(state[ADDED]) if ADDED in state else lines, body)


def write(writer: ResponseWriter | WholeRequest, scope: Scope, status: int, headers: Headers, body: bytes) -> bool:
    """Write a whole response with the headers that middleware adds to others. False if it cannot be written now."""
    state = scope["state"]
    state[STATUS] = status
    lines = header_lines((*headers, (b"x-request-id", state[REQUEST_ID]), *state.get(ADDED, ())))
    return writer.answer(status, lines, body)


def header_lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])
