"""Followers over SSE that record every event and go on with the last id, as EventSource does."""

import asyncio
from urllib.parse import quote, urlsplit

from tests.faults.clients import Shared
from tests.faults.history import Call, Event, Follow, Outcome, seen

SILENCE_SECONDS = 8.0
CONNECT_SECONDS = 3.0
LEAVE = (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError)
FACT_BYTES_MAX = 4 * 1024 * 1024


class Follower:
    """One process of the history that follows the log, at one address or at whichever answers."""

    def __init__(
        self,
        shared: Shared,
        process: str,
        *,
        url: str = "",
        first_url: str = "",
        after: str = "1:0",
        type: str | None = None,
        rest_seconds: float = 0.0,
    ) -> None:
        self.shared = shared
        self.process = process
        self.url = url
        self.type = type
        self.cursor = after
        self.refused = ""
        self.cuts = 0
        self._first_url = first_url
        self.rest_seconds = rest_seconds
        self._random = shared.random(process)
        self._connection = -1

    @property
    def position(self) -> int:
        return int(self.cursor.rpartition(":")[2])

    async def run(self) -> None:
        """Follow until cancelled, or the cursor is refused for good."""
        while not self.refused:
            await self._follow(self.url or self._first_url or self._random.choice(self.shared.urls))
            self._first_url = ""
            await asyncio.sleep(self._random.uniform(0.05, 0.3))

    async def _follow(self, url: str) -> None:
        recorder = self.shared.recorder
        self._connection += 1
        request, start = Follow(self._connection, self.cursor, self.type), recorder.now()
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await self._connect(url)
                outcome = await self._answer(reader)
        except LEAVE as error:
            outcome = Outcome(0, type(error).__name__)
        recorder.add(Call(self.process, start, recorder.now(), request, outcome))
        try:
            if outcome.status == 200:
                await self._receive(reader)
            elif 400 <= outcome.status < 500:
                self.refused = outcome.problem
        finally:
            if writer:
                writer.transport.abort()

    async def _connect(self, url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=FACT_BYTES_MAX)
        filters = f"&type={quote(self.type)}" if self.type else ""
        request = f"GET /v1/stream?heartbeat=3{filters} HTTP/1.1\r\nhost: localhost\r\n"
        writer.write(f"{request}last-event-id: {self.cursor}\r\n\r\n".encode())
        return reader, writer

    async def _answer(self, reader: asyncio.StreamReader) -> Outcome:
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status == 200:
            return Outcome(200)
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        body = await reader.readexactly(length)
        return Outcome(status, body.partition(b'"type":"')[2].partition(b'"')[0].rpartition(b":")[2].decode())

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        recorder, rest, ended = self.shared.recorder, b"", "cut"
        try:
            while True:
                async with asyncio.timeout(SILENCE_SECONDS):
                    size = int(await reader.readuntil(b"\r\n"), 16)
                    chunk = (await reader.readexactly(size + 2))[:-2]
                if not size:
                    ended = "ended"
                    break
                *events, rest = (rest + chunk).split(b"\n\n")
                for event in events:
                    self._hear(event)
                if self.rest_seconds:
                    await asyncio.sleep(self.rest_seconds)
        except LEAVE:
            self.cuts += 1
        finally:
            recorder.add(Event(self.process, recorder.now(), self._connection, ended))

    def _hear(self, event: bytes) -> None:
        fields = dict(line.split(b": ", 1) for line in event.split(b"\n") if b": " in line)
        name = fields.get(b"event", b"message").decode()
        if b"data" not in fields:
            return
        self.cursor = fields[b"id"].decode()
        fact = seen(fields[b"data"]) if name == "message" else None
        problem = ""
        if name == "problem":
            problem = fields[b"data"].partition(b'"type":"')[2].partition(b'"')[0].rpartition(b":")[2].decode()
        if problem == "history-forked":
            self.shared.forked.set()
        self.shared.recorder.add(
            Event(self.process, self.shared.recorder.now(), self._connection, name, self.cursor, fact, problem)
        )
