"""Events of a stream from its bytes, and when a stream is opened again. No input or output happens here."""

from __future__ import annotations

import json
import logging
import random
import time
from dataclasses import dataclass
from typing import Any, Iterator

import httpx

from .answers import decoded, problem_of
from .errors import FactwireError, Unreachable
from .retrying import TRANSIENT, pause_seconds

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 15
SILENCE_SECONDS = 3 * HEARTBEAT_SECONDS  # after three heartbeats that did not come, the connection is dead
RETRY_SECONDS = 2.0
RETRY_SECONDS_MAX = 60.0
EVENT_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True)
class Event:
    """An event that moves the cursor: `fact`, `caught-up` or `position`. `data` is its JSON text."""

    name: str
    cursor: str
    data: str


class Following:
    """State of one follower over all of its streams: its cursor, and the pause before the next stream."""

    def __init__(self, after: str | int, give_up_after: float | None) -> None:
        self.after = after
        self._give_up_after = give_up_after
        self._failing_since: float | None = None
        self._rest = bytearray()
        self._tries = 0
        self._retry_seconds = RETRY_SECONDS
        self.pause = 0.0

    def begin(self) -> None:
        self._rest = bytearray()

    @staticmethod
    def is_stream(response: httpx.Response) -> bool:
        return response.is_success and response.headers.get("content-type", "").startswith("text/event-stream")

    def refused(self, response: httpx.Response) -> None:
        """An answer other than a stream, already read. Raises Problem if going on would be wrong."""
        problem = problem_of(response)
        if response.status_code not in TRANSIENT:
            raise problem
        self._wait(problem, response.headers.get("retry-after"))

    def lost(self, error: httpx.RequestError) -> None:
        if isinstance(error, httpx.UnsupportedProtocol):
            raise Unreachable(str(error)) from error
        self._wait(error, None)

    def ended(self) -> None:
        """The stream ended cleanly, as every stream does from time to time."""
        self._keep_retry(bytes(self._rest.partition(b"\n")[0]))  # all that a busy service sends; the rest may be cut
        self._failing_since = None
        self.pause = self._retry_seconds * random.uniform(0.75, 1.5)

    def feed(self, chunk: bytes) -> list[Event]:
        """Events that are whole with these bytes. Lines end at line feeds only, and events at blank lines."""
        self._failing_since = None
        looked = max(0, len(self._rest) - 1)
        self._rest += chunk
        if len(self._rest) > EVENT_BYTES_MAX:
            raise FactwireError(f"an event has more than {EVENT_BYTES_MAX} bytes")
        if self._rest.find(b"\n\n", looked) < 0:
            return []
        *whole, self._rest = self._rest.split(b"\n\n")
        return [event for event in map(self._event, map(bytes, whole)) if event is not None]

    def _event(self, lines: bytes) -> Event | None:
        self._keep_retry(lines.partition(b"\n")[0])
        fields = dict(line.partition(b": ")[::2] for line in lines.split(b"\n"))
        name = fields.get(b"event", b"fact").decode()
        if b"id" not in fields or b"data" not in fields:
            return None
        self._tries = 0
        if name == "problem":  # the stream ends; if going on is wrong, the next answer says so
            log.warning("the stream ends: %s", json.loads(fields[b"data"])["detail"])
            return None
        cursor = fields[b"id"].decode()
        self.after = cursor
        return Event(name, cursor, fields[b"data"].decode())

    def _keep_retry(self, line: bytes) -> None:
        name, _, value = line.partition(b": ")
        if name == b"retry" and value.isdigit():
            self._retry_seconds = min(int(value) / 1000, RETRY_SECONDS_MAX)

    def _wait(self, cause: Exception, asked: str | None) -> None:
        log.info("%s; trying again", describe(cause))
        self.pause = max(pause_seconds(self._tries, asked), self._retry_seconds * random.uniform(0.5, 1.0))
        self._tries += 1
        if self._failing_since is None:
            self._failing_since = time.monotonic()
        if self._give_up_after is not None and time.monotonic() - self._failing_since > self._give_up_after:
            raise Unreachable(f"no stream for {self._give_up_after:g} seconds: {describe(cause)}") from cause


def describe(error: Exception) -> str:
    return str(error) or type(error).__name__


def members_of(event: Event) -> dict[str, Any]:
    members: dict[str, Any] = decoded(event.data)
    return members


def parts_of(events: list[Event], most: int) -> Iterator[list[Event]]:
    for begin in range(0, len(events), most):
        yield events[begin : begin + most]
