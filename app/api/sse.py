"""Server-Sent Events on the wire. The only module that knows sse-starlette.

Every byte rule here has a client or proxy that misbehaves without it: line feeds only, one `data:` line, an `id:` on
every event, never a blank line without data before it, a heartbeat of exactly a colon and a line feed, headers and
a first line at once.
"""

import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import msgspec
from sse_starlette import EventSourceResponse
from sse_starlette.sse import AppStatus, SendTimeoutError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.problems import problem
from app.domain.position import Cursor
from app.stream.following import CaughtUp, Facts, Failed, Happening, Moved, Quiet

log = logging.getLogger(__name__)

MEDIA_TYPE = "text/event-stream"
HEADERS = {
    "cache-control": "no-store, no-transform",
    "x-accel-buffering": "no",
    "x-content-type-options": "nosniff",
}


def leave_shutdown_to_us() -> None:
    """sse-starlette cuts every stream of the process at SIGTERM unless it is told that they end by themselves."""
    AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]


class StreamResponse(EventSourceResponse):
    """Tells a client that stopped reading from a failure, which it otherwise looks like in the log."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            log.info("a stream was cut: its client did not read for %s s", self.send_timeout)


def stream_response(events: AsyncIterator[bytes], *, send_seconds: float) -> Response:
    """Send chunks of whole events as they come. A client that does not read for so long is cut off."""
    return StreamResponse(
        events, headers=HEADERS, media_type=f"{MEDIA_TYPE}; charset=utf-8", sep="\n", ping=0, send_timeout=send_seconds
    )


async def event_bytes(
    happenings: AsyncGenerator[Happening], *, retry_seconds: float, cursor: Cursor
) -> AsyncIterator[bytes]:
    """The bytes of a stream: its opening, then what happens."""
    yield b"retry: %d\n:ok\n" % (retry_seconds * 1000)
    async with aclosing(happenings):
        async for happening in happenings:
            match happening:
                case Facts(body, _, cursor):
                    yield body
                case CaughtUp(cursor):
                    yield event("caught-up", cursor, b'{"position":%d,"head":%d}' % (cursor.position, cursor.position))
                case Moved(cursor):
                    yield event("position", cursor, b'{"position":%d}' % cursor.position)
                case Quiet():
                    yield b":\n"
                case Failed(error):
                    yield event("problem", cursor, msgspec.json.encode(problem(error)))


async def come_back_later(retry_seconds: float) -> AsyncIterator[bytes]:
    """A stream that ends at once: EventSource comes back after a clean end, and never after a 503."""
    yield b"retry: %d\n" % (retry_seconds * 1000 * random.uniform(1, 3))


def event(name: str, cursor: Cursor, data: bytes) -> bytes:
    return b"event: %b\nid: %b\ndata: %b\n\n" % (name.encode(), str(cursor).encode(), data)
