"""Where peers are measured: a cluster, directories that are removed, and drivers that are always ended."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from bench.client import Unexpected
from bench.cluster import Cluster
from bench.peers.job import Job, Outcome
from bench.peers.options import PeerOptions
from bench.processes import ROOT, Target, accepts_connections, running

PEERS_VENV = ROOT / ".venv-peers" / "bin"
NODE_MODULES = ROOT / "bench" / "peers" / "node_modules"
_DRIVERS = ROOT / "bench" / "peers" / "drivers"
_DRIVER_SECONDS_MAX = 90.0


class Missing(Exception):
    """What a peer needs is not installed; the text says how to install it."""


class Place:
    """What all peers of one run share."""

    def __init__(self, cluster: Cluster, options: PeerOptions, workload: Path) -> None:
        self.cluster = cluster
        self.options = options
        self.workload = workload

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The URL of a new, empty database."""
        async with self.cluster.database() as database:
            yield self.cluster.url(database)

    @asynccontextmanager
    async def server(self, command: list[str], port: int) -> AsyncIterator[Target]:
        async with running(command, port=port, database="", ready=accepts_connections) as target:
            yield target

    async def drive(self, driver: list[str], job: Job) -> Outcome:
        """What the driver found; everything that was acknowledged has to be there."""
        output = await _output([*driver, json.dumps(asdict(job))])
        try:
            outcome = Outcome(**json.loads(output.splitlines()[-1]))
        except (IndexError, TypeError, ValueError) as problem:
            raise Unexpected(f"the driver printed {output[-300:]!r}") from problem
        if outcome.acknowledged != outcome.stored:
            raise Unexpected(f"{outcome.acknowledged} facts were acknowledged, {outcome.stored} are there")
        if outcome.count <= 0:
            raise Unexpected("nothing was done in the timed window")
        return outcome


@contextmanager
def new_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="factwire-peer-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def own_driver(name: str) -> list[str]:
    """A driver that needs nothing but what the service's own environment has."""
    return [sys.executable, "-m", f"bench.peers.drivers.{name}"]


def peer_driver(name: str) -> list[str]:
    return [str(PEERS_VENV / "python"), "-m", f"bench.peers.drivers.{name}"]


def node_script(name: str) -> list[str]:
    return ["node", str(_DRIVERS / f"{name}.mjs")]


def need_python_package(name: str) -> None:
    if not any((PEERS_VENV.parent / "lib").glob(f"python*/site-packages/{name}")):
        raise Missing(f"{name} is not in .venv-peers: make bench-peers installs it where PyPI can be reached")


def need_node_package(name: str) -> None:
    if not (NODE_MODULES / name).is_dir():
        raise Missing(f"{name} is not in bench/peers/node_modules: make bench-peers installs it with Node and npm")


def need_command(command: str, package: str) -> str:
    if not (found := shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin")):
        raise Missing(f"{command} is not installed: apt-get install {package}")
    return found


async def _output(command: list[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_DRIVER_SECONDS_MAX):
            output, errors = await process.communicate()
    except TimeoutError:
        raise Unexpected(f"the driver did not end within {_DRIVER_SECONDS_MAX:.0f} s") from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines()
        raise Unexpected(f"the driver exited with {process.returncode}: {' '.join(lines[-2:])[-400:]}")
    return output.decode()
