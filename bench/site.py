"""Where scenarios are measured: one cluster, and on it service and floor, started for one phase each."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.client import Unexpected
from bench.cluster import Cluster
from bench.measuring import Measure, Meter, Sample
from bench.options import Options
from bench.processes import ROOT, Target, free_port, python, running

MIGRATE_SECONDS_MAX = 60.0


@dataclass(frozen=True, slots=True)
class History:
    """A log whose facts after a position are read; with no publisher."""

    database: str
    after: int


class Site:
    """Every phase gets a new server process; and a new database, unless it names one."""

    def __init__(self, cluster: Cluster, options: Options) -> None:
        self.cluster = cluster
        self.options = options
        self._migrated = ""
        self._history: History | None = None

    @asynccontextmanager
    async def service(self, database: str = "", *, workers: int = 1, auth: str = "none") -> AsyncIterator[Target]:
        if database:
            async with self._serve(database, workers, auth) as target:
                yield target
            return
        async with self.log() as created, self._serve(created, workers) as target:
            yield target

    @asynccontextmanager
    async def log(self) -> AsyncIterator[str]:
        """The database of one phase."""
        async with self.cluster.database(await self.migrated()) as created:
            yield created

    @asynccontextmanager
    async def floor(self) -> AsyncIterator[Target]:
        async with self.cluster.database() as database:
            port = free_port()
            command = python("bench.floors", "serve", str(port), self.cluster.url(database))
            async with running(command, port=port, database=database) as target:
                yield target

    async def history(self, fill: Callable[[Target], Awaitable[None]]) -> History:
        """A log that is filled through the service once, and then serves all phases of the run."""
        if self._history is None:
            database = await self.cluster.create(await self.migrated())
            async with self._serve(database) as target:
                await fill(target)
            await self.cluster.vacuum(database)
            self._history = History(database, after=0)
        return self._history

    def meter(self, target: Target) -> Meter:
        return Meter(self.cluster, target)

    @asynccontextmanager
    async def _serve(self, database: str, workers: int = 1, auth: str = "none") -> AsyncIterator[Target]:
        port = free_port()
        command = python("factwire", "serve", "--host", "127.0.0.1", "--port", str(port))
        environment = {
            "FACTWIRE_DATABASE_URL": self.cluster.url(database),
            "FACTWIRE_WORKERS": str(workers),
            "FACTWIRE_AUTH": auth,
        }
        async with running(command, port=port, database=database, environment=environment) as target:
            yield target

    async def migrated(self) -> str:
        """A migrated, empty database, to be copied."""
        if not self._migrated:
            database = await self.cluster.create()
            await run_to_end(python("factwire", "migrate"), {"FACTWIRE_DATABASE_URL": self.cluster.url(database)})
            self._migrated = database
        return self._migrated


Phase = Callable[[Site], Awaitable[Sample]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A sentence, what is measured, and the phase of each side."""

    name: str
    measures: tuple[Measure, ...]
    service: Phase
    floor: Phase


async def run_to_end(command: list[str], environment: dict[str, str] | None = None) -> bytes:
    """The standard output of a command that ends by itself with exit code 0."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=os.environ | (environment or {}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(MIGRATE_SECONDS_MAX):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        raise
    if process.returncode != 0:
        raise Unexpected(f"{' '.join(command)} exited with {process.returncode}: {errors.decode()[-4000:]}")
    return output
