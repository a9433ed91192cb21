"""The bare ASGI application of the floors: it publishes, pushes frames to open streams, and checks nothing."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

import asyncpg

from bench.floors.group_commit import CREATE_TABLE, GroupCommit, Published

_PUBLISHED_AT = b"2026-11-23T10:00:00.123456Z"
_STREAM_START = b'retry: 2000\n:ok\nevent: caught-up\ndata: {"position":0,"head":0}\nid: 1:0\n\n'
_STREAM_HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store, no-transform")],
}

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Floor:
    """`POST /v1/facts`, `GET /v1/stream`, `GET /v1/position`, and `POST /push` for the fan-out without a database."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._streams: dict[int, Send] = {}
        self._commit: GroupCommit
        self._pushed = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        match scope["method"], scope["path"]:
            case "POST", "/v1/facts":
                await self._publish(receive, send)
            case "GET", "/v1/stream":
                await self._follow(receive, send)
            case "GET", "/v1/position":
                await _answer(send, 200, b'{"position":%d}' % (self._commit.head + self._pushed))
            case "POST", "/push":
                await self._push(await _body(receive), send)
            case _:
                await _answer(send, 200, b"{}")

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        connection = await asyncpg.connect(self._database_url)
        await connection.execute(CREATE_TABLE)
        self._commit = GroupCommit(connection)
        task = asyncio.create_task(self._commit.run())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await connection.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _publish(self, receive: Receive, send: Send) -> None:
        published = await self._commit.publish(await _body(receive))
        first = published.first.result()
        if self._streams:
            await self._deliver(frames(published, first))
        facts = b",".join(
            b'{"id":"%s","position":%d}' % (id.encode(), position)
            for position, id in enumerate(published.ids, start=first)
        )
        last = first + len(published.ids) - 1
        answer = b'{"facts":[%s],"position":%d,"cursor":"1:%d","published_at":"%s"}'
        await _answer(send, 201, answer % (facts, last, last, _PUBLISHED_AT))

    async def _push(self, body: bytes, send: Send) -> None:
        """Pushes the chunk in the body to all streams: publishing without parsing and without a database."""
        await self._deliver(body)
        await _answer(send, 201, b"{}")

    async def _deliver(self, chunk: bytes) -> None:
        message = {"type": "http.response.body", "body": chunk, "more_body": True}
        for stream_send in list(self._streams.values()):
            await stream_send(message)

    async def _follow(self, receive: Receive, send: Send) -> None:
        await send(_STREAM_HEAD)
        await send({"type": "http.response.body", "body": _STREAM_START, "more_body": True})
        self._streams[id(send)] = send
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            del self._streams[id(send)]


def frames(published: Published, first: int) -> bytes:
    """The frames that the service would send for these facts, byte for byte in shape."""
    return b"".join(
        b'data: {"position":%d,"published_at":"%s","id":"%s",%s\nid: 1:%d\n\n'
        % (position, _PUBLISHED_AT, id.encode(), bytes(document)[1:], position)
        for position, (id, document) in enumerate(zip(published.ids, published.documents, strict=True), start=first)
    )


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
