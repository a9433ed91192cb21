"""Servers as subprocesses: started, awaited, measured from outside, and always stopped by their process id."""

import asyncio
import os
import resource
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter

import psutil

from bench.client import Unexpected, ask

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """A running server, service or floor, with the database it works on."""

    port: int
    pid: int
    database: str

    def pids(self) -> list[int]:
        return [self.pid, *(child.pid for child in psutil.Process(self.pid).children(recursive=True))]

    def rss_kibibytes(self) -> float:
        return sum(psutil.Process(pid).memory_info().rss for pid in self.pids()) / 1024


@dataclass(frozen=True, slots=True)
class CpuReading:
    """CPU seconds of processes at one moment."""

    at: float
    cpu_seconds: dict[int, float]


def cpu_reading(pids: Iterable[int]) -> CpuReading:
    return CpuReading(perf_counter(), {pid: _cpu_seconds(pid) for pid in pids})


def cpu_seconds_between(before: CpuReading, after: CpuReading) -> float:
    """A process that started in between counts from zero."""
    return sum(seconds - before.cpu_seconds.get(pid, 0.0) for pid, seconds in after.cpu_seconds.items())


async def answers_readyz(port: int) -> bool:
    return (await ask(port, "GET", "/readyz"))[0] == 200


async def accepts_connections(port: int) -> bool:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    return True


@asynccontextmanager
async def running(
    command: list[str],
    *,
    port: int,
    database: str,
    environment: dict[str, str] | None = None,
    ready: Callable[[int], Awaitable[bool]] = answers_readyz,
) -> AsyncIterator[Target]:
    """The server, once `ready` says so of its port."""
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=os.environ | (environment or {}), stdout=log, stderr=asyncio.subprocess.STDOUT
        )
        try:
            if not await _ready(process, port, ready):
                log.seek(0)
                raise Unexpected(f"{' '.join(command)} is not ready:\n{log.read()[-4000:].decode(errors='replace')}")
            yield Target(port, process.pid, database)
        finally:
            await _stop(process)


def python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def raise_open_files_limit() -> None:
    """Thousands of streams need as many descriptors, here and in the servers, which inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard > 0 else 65_536, hard))


async def _ready(process: asyncio.subprocess.Process, port: int, ready: Callable[[int], Awaitable[bool]]) -> bool:
    deadline = monotonic() + READY_SECONDS_MAX
    while monotonic() < deadline and process.returncode is None:
        with suppress(OSError, Unexpected):
            if await ready(port):
                return True
        await asyncio.sleep(0.02)
    return False


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await process.wait()
    except TimeoutError:
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        process.kill()
        await process.wait()


def _cpu_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
