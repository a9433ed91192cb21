"""A log that is damaged behind the service's back, and what a service and a command say of it."""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import httpx

from factwire.store.connection import Connection
from tests.support.service import ROOT, clean_environment

FOLLOW_SECONDS = 20.0
COMMAND_SECONDS = 50.0


async def behind_the_back(connection: Connection, statement: str, *arguments: object) -> None:
    """Change what is stored as no service does: a replica's session does not fire the triggers that forbid it."""
    async with connection.transaction(isolation="read_committed"):
        await connection.execute("set local session_replication_role = replica")
        await connection.execute(statement, *arguments)
        await connection.execute("set local session_replication_role = origin")


async def take_away(connection: Connection, position: int) -> None:
    """Delete a fact; its id and its postings stay."""
    await behind_the_back(connection, "delete from factwire.facts where position = $1", position)


@dataclass
class Followed:
    """What a stream sent: facts, events of other names, and the last id."""

    facts: list[dict[str, Any]] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    cursor: str = ""

    @property
    def positions(self) -> list[int]:
        return [int(fact.get("position") or fact["factposition"]) for fact in self.facts]

    @property
    def problem(self) -> str:
        """The code of the problem that the stream ended with."""
        name, told = self.events[-1]
        assert name == "problem", self.events
        code: str = told["type"].rpartition(":")[2]
        return code


async def followed(client: httpx.AsyncClient, *, until: str, path: str = "/v1/stream", **parameters: str) -> Followed:
    """Follow from the start until an event of a name has come as a whole."""
    seen = Followed()
    name = ""
    async with (
        asyncio.timeout(FOLLOW_SECONDS),
        client.stream("GET", path, params={"after": "start", **parameters}) as response,
    ):
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            key, _, value = line.partition(": ")
            if key == "event":
                name = value
            elif key == "data" and (name == "" or "/" in name):  # events of facts may be named by their types
                seen.facts.append(json.loads(value))
            elif key == "data":
                seen.events.append((name, json.loads(value)))
            elif key == "id":
                seen.cursor = value
            elif not line:
                if name == until:
                    return seen
                name = ""
    raise AssertionError(f"the stream ended without {until}: {seen}")


def code_of(answer: httpx.Response) -> tuple[int, str]:
    """The status and the code of a problem."""
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


async def verify_by_command(database_url: str, **settings: str) -> tuple[int, str]:
    """The exit code of `factwire verify`, and all that it says."""
    environment = {"FACTWIRE_DATABASE_URL": database_url}
    environment |= {f"FACTWIRE_{name.upper()}": value for name, value in settings.items()}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "factwire", "verify"],
        cwd=ROOT,
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
    )
    return done.returncode, done.stdout + done.stderr
