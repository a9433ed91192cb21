"""What the hot operations say to the server themselves, past what a framework puts in between."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")

JSON = "application/json"
JSON_HEADER = (b"content-type", JSON.encode())


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


class JsonAnswer(Response):
    """A response with a JSON body and nothing else to say, without the general way to build its headers."""

    def __init__(self, body: bytes, status_code: int) -> None:
        self.body = body
        self.status_code = status_code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [JSON_HEADER, (b"content-length", b"%d" % len(self.body))]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})
