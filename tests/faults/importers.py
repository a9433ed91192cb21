"""Importers: a file of lines, imported whole again and again until the answer is its result, or names a bad line."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from tests.faults.clients import BROKEN, PATIENCE_SECONDS, Publisher, refused, sent_of
from tests.faults.history import Import, Imported, Outcome, Sent

NDJSON = {"content-type": "application/x-ndjson"}
LINES = (40, 1200)
PIECE_LINES = 120
IMPORT_SECONDS = 20.0
IMPATIENT_SECONDS = 1.0


class Importer(Publisher):
    """Imports one file after the other. A bad file has a line with the id of an earlier one and other content."""

    completed = 0
    broken = 0

    async def run(self) -> None:
        while not self.shared.stopping.is_set():
            sent, bodies = self.file()
            if await self.until_settled(sent, bodies) and self.random.random() < 0.3:
                await self.import_file(sent, bodies)
            await asyncio.sleep(self.random.uniform(0, 0.2))

    def file(self) -> tuple[list[Sent], list[dict[str, Any]]]:
        file = f"file-{self.random.getrandbits(32):08x}"
        bodies = [self.body("LineImported", file) for _ in range(self.random.randint(*LINES))]
        if self.random.random() < 0.25:
            bad = self.random.randrange(1, len(bodies))
            bodies[bad] |= {"id": self.random.choice(bodies[:bad])["id"]}
        return [sent_of(body) for body in bodies], bodies

    async def until_settled(self, sent: list[Sent], bodies: list[dict[str, Any]]) -> bool:
        """Repeat the whole file after each answer that is broken; False where the run is over first."""
        give_up_at = self.shared.recorder.now() + PATIENCE_SECONDS
        while self.shared.recorder.now() < give_up_at:
            outcome = await self.import_file(sent, bodies)
            if outcome.status == 200 or 400 <= outcome.status < 500:
                self.completed += 1
                return True
            self.broken += 1
            if self.shared.stopping.is_set():
                break
            await asyncio.sleep(self.random.uniform(0.02, 0.2))
        return False

    async def import_file(self, sent: list[Sent], bodies: list[dict[str, Any]]) -> Outcome:
        """One attempt. The outcome has the last progress that arrived, also where the answer was cut."""
        start, request, told = self.shared.recorder.now(), Import(sent), list[str]()
        seconds = IMPATIENT_SECONDS if self.random.random() < 0.1 else IMPORT_SECONDS
        try:
            async with asyncio.timeout(seconds):
                outcome = await self._send(bodies, told)
        except BROKEN as error:
            outcome = outcome_of(told, otherwise=type(error).__name__)
        except asyncio.CancelledError:
            self.record(request, start, outcome_of(told, otherwise="cancelled"))
            raise
        return self.record(request, start, outcome)

    async def _send(self, bodies: list[dict[str, Any]], told: list[str]) -> Outcome:
        pieces = self._pieces(bodies)
        url = f"{self.url}/v1/facts/import"
        async with self._http.stream("POST", url, content=pieces, headers=NDJSON, timeout=IMPORT_SECONDS) as response:
            if response.status_code != 200:
                await response.aread()
                return refused(response)
            async for line in response.aiter_lines():
                told.append(line)
        return outcome_of(told, otherwise="cut")

    async def _pieces(self, bodies: list[dict[str, Any]]) -> AsyncIterator[bytes]:
        """The file in pieces, with a rest after each, so that faults come between batches, too."""
        rest_seconds = self.random.choice((0.0, 0.05, 0.3))
        for begin in range(0, len(bodies), PIECE_LINES):
            yield b"".join(
                json.dumps(body, separators=(",", ":")).encode() + b"\n" for body in bodies[begin : begin + PIECE_LINES]
            )
            await asyncio.sleep(rest_seconds)


def outcome_of(told: list[str], *, otherwise: str) -> Outcome:
    """What the lines of an answer say, the last of which may be cut."""
    outcome = Outcome(0, otherwise)
    for line in told:
        try:
            document = json.loads(line)
        except ValueError:
            break
        match document:
            case {"progress": progress}:
                outcome = Outcome(0, otherwise, imported=imported(progress))
            case {"result": result}:
                outcome = Outcome(200, imported=imported(result))
            case {"problem": problem}:
                code = problem["type"].rpartition(":")[2]
                outcome = Outcome(problem["status"], code, imported=imported(problem["progress"], problem["line"]))
    return outcome


def imported(progress: dict[str, Any], failing_line: int = 0) -> Imported:
    return Imported(progress["lines"], progress["published"], progress["replayed"], progress["position"], failing_line)
