"""A client that costs little: raw protocols on uvloop, prebuilt requests, and only as much parsing as is needed."""

import asyncio
import gc
import json
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, cast

from bench.facts import Requests, request_bytes

ANSWER_SECONDS_MAX = 60.0
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Unexpected(Exception):
    """An answer or a count that makes the measurement worthless."""


class Tally:
    """What all publishing connections of one phase have done together."""

    def __init__(self, requests: Requests) -> None:
        self.next_request = requests
        self.answered = 0
        self.latencies_seconds = array("d")
        self.open = True


class Publishing(asyncio.Protocol):
    """One connection that sends its next request as soon as the last one is answered with 201."""

    def __init__(self, tally: Tally) -> None:
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tally = tally
        self._received = b""
        self._transport: asyncio.Transport
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        if answer_end(received) < 0:
            self._received = received
            return
        self._received = b""
        tally = self._tally
        tally.answered += 1
        tally.latencies_seconds.append(perf_counter() - self._sent_at)
        if not received.startswith(b"HTTP/1.1 201"):
            self._end(Unexpected(f"a publish was answered with {received[:600]!r}"))
        elif tally.open:
            self._send()
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(Unexpected(f"the server closed a publishing connection: {exc}"))

    def _send(self) -> None:
        self._sent_at = perf_counter()
        self._transport.write(self._tally.next_request())

    def _end(self, problem: Unexpected | None) -> None:
        if self.finished.done():
            return
        if problem:
            self.finished.set_exception(problem)
        else:
            self.finished.set_result(None)
        self._transport.close()


class Pipelining(asyncio.Protocol):
    """One connection whose requests may overtake their answers; every answer has to be 201."""

    def __init__(self) -> None:
        self.answered = 0
        self.problem: Unexpected | None = None
        self._changed = asyncio.Event()
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        received = self._received + data
        while (end := answer_end(received)) > 0:
            if not received.startswith(b"HTTP/1.1 201"):
                self.problem = Unexpected(f"a publish was answered with {received[:600]!r}")
            self.answered += 1
            received = received[end:]
        self._received = received
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.problem = self.problem or Unexpected(f"the server closed a publishing connection: {exc}")
        self._changed.set()

    def send(self, request: bytes) -> None:
        self._transport.write(request)

    async def wait_answered(self, answers: int) -> None:
        """Until so many requests have been answered since the connection was made."""
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            while self.answered < answers:
                if self.problem:
                    raise self.problem
                self._changed.clear()
                await self._changed.wait()
        if self.problem:
            raise self.problem

    def close(self) -> None:
        self._transport.close()


async def open_pipeline(port: int) -> Pipelining:
    _, connection = await asyncio.get_running_loop().create_connection(Pipelining, "127.0.0.1", port)
    return connection


def answer_end(received: bytes) -> int:
    """The length of the first complete answer in `received`, or -1; the answer must declare its length."""
    head_end = received.find(_HEAD_END)
    if head_end < 0:
        return -1
    head = received[:head_end].lower()
    at = head.find(_LENGTH)
    if at < 0:
        raise Unexpected(f"an answer without content-length: {received[:600]!r}")
    line_end = head.find(b"\r\n", at)
    declared = head[at + len(_LENGTH) : line_end if line_end > 0 else head_end]
    end = head_end + len(_HEAD_END) + int(declared)
    return end if len(received) >= end else -1


async def ask(port: int, method: str, target: str) -> tuple[int, Any]:
    """One request on a connection of its own: the status, and the JSON of the answer."""
    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request_bytes(method, target))
            received = b""
            while (end := answer_end(received)) < 0:
                more = await reader.read(65536)
                if not more:
                    raise Unexpected(f"{method} {target} was cut after {received!r}")
                received += more
        finally:
            writer.close()
    return int(received[9:12]), json.loads(received[received.find(_HEAD_END) + len(_HEAD_END) : end])


@contextmanager
def garbage_collection_off() -> Iterator[None]:
    """A collection in the client would count as latency of the server."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
