"""Answers and event streams over raw HTTP."""

import asyncio
from collections.abc import Callable

from bench.client import answer_end
from bench.peers.drivers.tasks import Connection, connect
from bench.peers.job import Wrong

_SUBSCRIBE_SECONDS_MAX = 30.0
_LAST_CHUNK = b"0\r\n\r\n"
_FRAME_END = b"\n\n"


def accepted_end(received: bytes) -> int:
    """The end of an answer that accepts; 204 has no body and no length, and a chunked body ends with an empty chunk."""
    if (head_end := received.find(b"\r\n\r\n")) < 0:
        return -1
    if not received.startswith(b"HTTP/1.1 2"):
        raise Wrong(f"a publish was answered with {received[:300]!r}")
    if received.startswith(b"HTTP/1.1 204"):
        return head_end + 4
    if b"\r\ntransfer-encoding: chunked" in received[:head_end].lower():
        last_chunk = received.find(_LAST_CHUNK, head_end)
        return last_chunk + len(_LAST_CHUNK) if last_chunk >= 0 else -1
    return answer_end(received)


def post(target: str, body: bytes, *, method: str = "POST") -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def subscribe(port: int, target: str, count: int, see: Callable[[bytes], None]) -> None:
    """So many event streams, all past the first frame that the server sends by itself; `see` gets whole frames."""
    request = f"GET {target} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/event-stream\r\n\r\n".encode()
    following = 0
    ready = asyncio.Event()

    def first_frame(connection: Connection, _: bytes) -> None:
        nonlocal following
        following += 1
        connection.answered = later_frames
        if following == count:
            ready.set()

    def later_frames(_: Connection, frames: bytes) -> None:
        see(frames)

    for _ in range(count):
        (await connect(port, _frames_end, first_frame)).send(request)
    async with asyncio.timeout(_SUBSCRIBE_SECONDS_MAX):
        await ready.wait()


def _frames_end(received: bytes) -> int:
    end = received.rfind(_FRAME_END)
    return end + len(_FRAME_END) if end >= 0 else -1
