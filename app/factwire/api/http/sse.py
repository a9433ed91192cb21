"""Server-Sent Events on the wire. The only module that uses sse-starlette.

Without each of these byte rules some client or proxy misbehaves: line feeds only, one `data:` line, an `id:` on
every event and after its data (clients that keep an id as soon as they have read its line would skip an event that is
cut between the two), never a blank line without data before it, a heartbeat of exactly a colon and a line feed,
headers and a first line at once.
"""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing
from functools import lru_cache
from typing import cast

import msgspec
from sse_starlette import EventSourceResponse
from sse_starlette.sse import AppStatus
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from factwire.api.http.direct_response import COMMENT, ResponseWriter, WouldWait, at_once, chunk, writer_of
from factwire.api.http.problems import problem
from factwire.api.http.representation import ENVELOPE, Representation
from factwire.domain.position import Cursor
from factwire.follow.fanout import StreamLink
from factwire.follow.progress import CaughtUp, Facts, Failed, Happening, Moved, Quiet
from factwire.follow.streams import StreamRequest, Streams

log = logging.getLogger(__name__)

MEDIA_TYPE = "text/event-stream"
HEADERS = {
    "cache-control": "no-store, no-transform",
    "x-accel-buffering": "no",
    "x-content-type-options": "nosniff",
}

Follow = Callable[[StreamLink], AsyncGenerator[Happening]]
NO_NEWS = b":\n"
NOTHING: Iterator[bytes] = iter(())


def leave_shutdown_to_us() -> None:
    """Prevent sse-starlette from cutting every stream of the process at SIGTERM: streams end by themselves."""
    AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]


class StreamResponse(EventSourceResponse):
    """Stream response that costs two tasks: one sends if sending has to wait, one notices that the client left.

    The loop of sse-starlette keeps five tasks, and wakes two of them for each event. Only its response head is used.
    """

    def __init__(
        self,
        opening: bytes,
        follow: Follow,
        *,
        send_seconds: float,
        longest_seconds: float = math.inf,
        representation: Representation = ENVELOPE,
    ) -> None:
        super().__init__(NOTHING, headers=HEADERS, media_type=f"{MEDIA_TYPE}; charset=utf-8", ping=0)
        del self.headers["connection"]  # the server sets it, and may have to close the connection
        vars(self).pop("_send_lock", None)  # of the unused loop: a kilobyte while the stream is open
        self.opening = opening
        self._follow = follow
        self._send_seconds = send_seconds
        self._longest_seconds = longest_seconds
        self._representation = representation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = Client(send, self._send_seconds, writer_of(scope), self._longest_seconds)
        link = StreamLink(
            client.push
            if self._representation is ENVELOPE
            else lambda happening: client.push(self._representation.pushed(happening))
        )
        leaving = watch_client(scope, receive, link)
        try:
            await client.wait({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            self.raw_headers = []  # sent; a kilobyte for as long as the stream is open
            await client.send(self.opening)
            scope.setdefault("state", {})[COMMENT] = NO_NEWS
            async with aclosing(self._follow(link)) as happenings:
                async for happening in happenings:
                    await client.send(encode(await self._representation.read(happening)))
            await client.wait({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            log.info("a stream was cut: its client read nothing for %s s", self._send_seconds)
            client.cut()
        finally:
            if leaving is not None:
                leaving.cancel()


class Client:
    """Sender to the client of one stream: at once if it reads, and within a time limit if it does not."""

    __slots__ = ("_longest_seconds", "_send", "_send_seconds", "_writer")

    def __init__(
        self,
        send: Send,
        send_seconds: float,
        writer: ResponseWriter | None = None,
        longest_seconds: float = math.inf,
    ) -> None:
        self._send = send
        self._send_seconds = send_seconds
        self._longest_seconds = longest_seconds
        self._writer = writer

    def push(self, happening: Happening) -> bool:
        """Send an event if that needs no waiting. True if it was sent."""
        if self._writer is not None and type(happening) is Facts:
            return self._writer.push(facts_chunk(happening))
        return self._push(encode(happening))

    async def send(self, body: bytes) -> None:
        """Send a part of the body. Raises TimeoutError if the client does not read."""
        if not self._push(body):
            await self.wait(body_message(b""))  # for room in the buffer
            if not self._push(body):
                await self.wait(body_message(body))

    async def wait(self, message: Message) -> None:
        """Send a message as ASGI does. Raises TimeoutError if the client reads nothing for too long.

        A client that reads slowly may take as long as it makes progress and a stream may last.
        """
        if self._is_sent_at_once(dict(message)):
            return
        sending = asyncio.ensure_future(self._send(message))
        give_up_at = asyncio.get_running_loop().time() + self._longest_seconds
        unread = self._unread()
        try:
            while not (await asyncio.wait({sending}, timeout=self._send_seconds))[0]:
                before, unread = unread, self._unread()
                if unread >= before or asyncio.get_running_loop().time() > give_up_at:
                    raise TimeoutError
            sending.result()
        finally:
            sending.cancel()

    def cut(self) -> None:
        """Close the connection: the stream cannot be ended cleanly."""
        if self._writer is not None:
            self._writer.cut()

    def _unread(self) -> int:
        return 0 if self._writer is None else self._writer.unread()

    def _push(self, body: bytes) -> bool:
        if self._writer is not None:
            return self._writer.push(chunk(body))
        return self._is_sent_at_once(body_message(body))

    def _is_sent_at_once(self, message: Message) -> bool:
        """True if a message was sent without waiting; otherwise nothing of it was sent."""
        try:
            at_once(cast(Coroutine[None, None, None], self._send(message)))
        except WouldWait:
            return False
        return True


def stream_response(
    streams: Streams,
    following: StreamRequest,
    *,
    retry_seconds: float,
    send_seconds: float,
    longest_seconds: float,
    representation: Representation = ENVELOPE,
) -> Response:
    """Stream of whole events as they come. A client that reads nothing for `send_seconds` is disconnected."""
    return StreamResponse(
        b"retry: %d\n:ok\n" % (retry_seconds * 1000),
        lambda link: streams.follow(following, link),
        send_seconds=send_seconds,
        longest_seconds=longest_seconds,
        representation=representation,
    )


def watch_client(scope: Scope, receive: Receive, link: StreamLink) -> asyncio.Task[None] | None:
    """Let the link know when the client leaves. Our own server calls back: a task that waits takes a kilobyte."""
    writer = writer_of(scope)
    if writer is not None:
        writer.watch(link.leave)
        return None
    leaving = asyncio.create_task(wait_for_disconnect(receive))
    leaving.add_done_callback(lambda _: link.leave())
    return leaving


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client has disconnected, or has received everything."""
    while (await receive())["type"] != "http.disconnect":
        pass


def encode(happening: Happening) -> bytes:
    match happening:
        case Facts(body, _, _):
            return body
        case CaughtUp(cursor):
            return event("caught-up", cursor, b'{"position":%d,"head":%d}' % (cursor.position, cursor.position))
        case Moved(cursor):
            return event("position", cursor, b'{"position":%d}' % cursor.position)
        case Quiet():
            return NO_NEWS
        case Failed(error, cursor):
            return event("problem", cursor, msgspec.json.encode(problem(error)))


@lru_cache(8)
def facts_chunk(facts: Facts) -> tuple[bytes, ...]:
    """Chunk of facts, cached because many streams in a row get the same facts."""
    return chunk(facts.body)


def body_message(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


def event(name: str, cursor: Cursor, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\nid: %b\n\n" % (name.encode(), data, str(cursor).encode())
