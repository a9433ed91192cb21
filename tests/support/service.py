"""The service as a process of its own, on a real socket."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.support.forks import Forks, Process

ROOT = Path(__file__).parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05
SERVE = ("-m", "factwire", "serve")
FORKS: list[Forks] = []  # at most one, of a run whose services may be forks


class ServiceProcess:
    """One `python -m factwire serve` with settings of its own; it is gone after the `async with`.

    `tree` is where its code stands: another version's, or ours; `command` is what Python runs there.
    """

    def __init__(
        self, settings: dict[str, str], *, log_path: Path, tree: Path = ROOT, command: Sequence[str] = SERVE
    ) -> None:
        self.settings = {"FACTWIRE_PORT": str(free_port())} | settings
        self.log_path = log_path
        self.port = int(self.settings["FACTWIRE_PORT"])
        scheme = "https" if "FACTWIRE_TLS_CERTIFICATE_FILE" in self.settings else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        environment = clean_environment() | {"PYTHONPATH": str(tree / "app")} | self.settings
        self.process: Process
        if FORKS and (tree, command) == (ROOT, SERVE):
            self.process = FORKS[0].start(environment, directory=tree, log_path=log_path)
            return
        with log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=tree,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def database_url(self) -> str:
        return self.settings["FACTWIRE_DATABASE_URL"]

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    async def ready(self) -> None:
        """Return once /readyz answers 200; raise with the log if the process ends or takes too long."""
        try:
            async with asyncio.timeout(START_SECONDS), httpx.AsyncClient(base_url=self.url, verify=False) as client:
                while not await self.is_ready(client):
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise AssertionError(f"the service is not ready after {START_SECONDS} s:\n{self.log}") from None

    async def is_ready(self, client: httpx.AsyncClient) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the service ended with {self.process.returncode}:\n{self.log}")
        try:
            return (await client.get("/readyz")).is_success
        except httpx.TransportError:
            return False

    async def terminate(self) -> int:
        """Ask the process to end as an orchestrator does, and return its exit code."""
        self.process.terminate()
        return await self.ended()

    async def kill(self) -> None:
        """Kill the process and its workers without a warning."""
        self.signal_all(signal.SIGKILL)
        await self.ended()

    def stop(self) -> None:
        """Freeze the process and its workers until `cont`."""
        self.signal_all(signal.SIGSTOP)

    def cont(self) -> None:
        self.signal_all(signal.SIGCONT)

    async def ended(self) -> int:
        return await asyncio.to_thread(self.process.wait, STOP_SECONDS)

    def signal_all(self, number: signal.Signals) -> None:
        os.killpg(self.pid, number)

    async def __aenter__(self) -> Self:
        try:
            await self.ready()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the process if it still runs: politely, then for certain."""
        if self.process.poll() is None:
            self.cont()
            self.process.terminate()
        try:
            await self.ended()
        except subprocess.TimeoutExpired:
            await self.kill()


def settings_of(**settings: object) -> dict[str, str]:
    """Return the environment of settings: `drain_seconds=1` is FACTWIRE_DRAIN_SECONDS; None leaves one out."""
    return {f"FACTWIRE_{name.upper()}": str(value) for name, value in settings.items() if value is not None}


def clean_environment() -> dict[str, str]:
    """Return this environment without our own settings, so that a developer's shell does not change a test."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("FACTWIRE_", "PG"))}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
