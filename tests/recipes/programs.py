"""The programs of docs/ as processes of their own, started as a reader would start them."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx

from tests.support.builders import Fact, publication
from tests.support.service import ROOT, STOP_SECONDS, clean_environment

DOCS = ROOT / "docs"
CLIENT = ROOT / "clients" / "typescript"
UNTIL_SECONDS = 30.0
POLL_SECONDS = 0.01


class Program:
    """A running program. What it says goes to a file."""

    def __init__(self, command: Sequence[str], *, log_path: Path, key: str | None = None) -> None:
        self.log_path = log_path
        environment = clean_environment() | ({} if key is None else {"KEY": key})
        with log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def said(self) -> str:
        return self.log_path.read_text(errors="replace")

    async def kill(self) -> None:
        """Kill it without a warning; it must have been running."""
        assert self.process.poll() is None, self.said
        self.process.kill()
        await self.ended()

    async def ended(self) -> int:
        return await asyncio.to_thread(self.process.wait, STOP_SECONDS)


@asynccontextmanager
async def running(command: Sequence[str], *, log_path: Path, key: str | None = None) -> AsyncIterator[Program]:
    """A program that still runs at the end of the block, unless the block has ended it, and is gone after it."""
    program = Program(command, log_path=log_path, key=key)
    try:
        yield program
    finally:
        if program.process.poll() is None:
            program.process.kill()
        await program.ended()


async def run(command: Sequence[str], *, key: str | None = None, given: bytes = b"") -> tuple[int, str]:
    """The exit code of a program that ends, and what it said."""
    environment = clean_environment() | ({} if key is None else {"KEY": key})
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(UNTIL_SECONDS):
            said, _ = await process.communicate(given)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def refused(command: Sequence[str], *, key: str | None = None) -> str:
    """The code of the problem with which a program ends."""
    code, said = await run(command, key=key)
    assert code == 1, said
    problem: str = json.loads(said)["type"]
    return problem.removeprefix("urn:factwire:problem:")


def python(name: str, *arguments: object) -> list[str]:
    return [sys.executable, str(DOCS / name), *map(str, arguments)]


def altered(command: list[str], old: str, new: str, *, directory: Path) -> list[str]:
    """The command of a program in which something was replaced, to see what that is good for."""
    program = Path(command[1])
    assert program.read_text().count(old) == 1
    copy = directory / f"altered-{program.name}"
    copy.write_text(program.read_text().replace(old, new))
    return [command[0], str(copy), *command[2:]]


def node(name: str, *arguments: object, directory: Path) -> list[str]:
    """The command of a Node program, in a folder in which the client is installed."""
    modules = directory / "node_modules" / "@factwire"
    if not modules.exists():
        modules.mkdir(parents=True)
        (modules / "client").symlink_to(CLIENT)
    program = Path(shutil.copy(DOCS / name, directory))
    return ["node", str(program), *map(str, arguments)]


async def publish(url: str, *facts: Fact, key: str | None = None) -> int:
    """Publish facts and return the last position."""
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, verify=False) as client:
        answer = await client.post("/v1/facts", json=publication(*facts))
    assert answer.is_success, answer.text
    return int(answer.json()["position"])


async def published(url: str, namespace: str) -> list[Fact]:
    """Every fact of a namespace, in order."""
    async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as client:
        answer = await client.get("/v1/facts/export", params={"namespace": namespace})
    assert answer.is_success, answer.text
    return [json.loads(line) for line in answer.text.split("\n") if line]


async def import_facts(url: str, facts: Iterable[Fact]) -> None:
    lines = b"".join(json.dumps(fact).encode() + b"\n" for fact in facts)
    headers = {"content-type": "application/x-ndjson"}
    async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as client:
        answer = await client.post("/v1/facts/import", content=lines, headers=headers)
    assert answer.text.splitlines()[-1].startswith('{"result"'), answer.text


async def revoke(database_url: str, key_id: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("update factwire.keys set revoked_at = now() where id = $1", key_id)
    await connection.close()


async def raise_epoch(database_url: str, *, forked_after: int) -> None:
    command = [sys.executable, "-m", "factwire", "epoch", "raise", "--forked-after", str(forked_after)]
    environment = clean_environment() | {"FACTWIRE_DATABASE_URL": database_url, "PATH": os.environ["PATH"]}
    await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env=environment, capture_output=True, timeout=UNTIL_SECONDS, check=True
    )
