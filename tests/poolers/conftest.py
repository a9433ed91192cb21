"""PgBouncer in transaction mode as those have it who cannot configure it: it lets no start-up parameter through."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest

from factwire.store.embedded_programs import find_engine
from tests.faults.pair import Node
from tests.support.postgres import run_sql
from tests.support.service import free_port

NEWEST = "FACTWIRE_TEST_PGBOUNCER"
POOL_SIZE = 3
START_SECONDS = 10

CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {directory}/users.txt
logfile = {directory}/log
pidfile = {directory}/pid
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 300
{more}
"""


@dataclass(frozen=True)
class Pooled:
    """A database behind PgBouncer, and the same without it."""

    url: str
    direct_url: str
    version: tuple[int, ...]


def programs() -> list[str]:
    """Debian's PgBouncer, and another one that is named."""
    return [found for found in (shutil.which("pgbouncer"), os.environ.get(NEWEST)) if found]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Node]:
    directory = Path(mkdtemp(prefix="factwire-poolers-"))
    node = Node(directory / "postgres")
    try:
        node.initialise()
        node.start()
        yield node
    finally:
        node.remove()
        shutil.rmtree(directory)


@pytest.fixture(params=programs() or ["pgbouncer"], ids=lambda program: Path(program).parent.name)
def pooled(request: pytest.FixtureRequest, postgres: Node) -> Iterator[Pooled]:
    program: str = request.param
    version = version_of(program)
    directory = Path(mkdtemp(prefix="factwire-pgbouncer-"))
    name = f"pooled_{directory.name.rpartition('-')[2].lower()}"
    run_sql(postgres.url, f'create database "{name}"')
    port = free_port()
    # The newest follows prepared statements unless it is told not to; where it is run by others, it may be.
    more = "max_prepared_statements = 0" if version >= (1, 21) else ""
    configuration = directory / "pgbouncer.ini"
    configuration.write_text(
        CONFIGURATION.format(server_port=postgres.port, port=port, directory=directory, pool_size=POOL_SIZE, more=more)
    )
    (directory / "users.txt").write_text('"postgres" ""\n')
    engine = find_engine()
    for each in (directory, *directory.iterdir()):
        os.chown(each, engine.uid, -1)
    process = subprocess.Popen(
        [program, "-q", str(configuration)], **engine.manner(directory), stdout=subprocess.DEVNULL
    )
    try:
        url = f"postgresql://postgres@127.0.0.1:{port}/{name}"
        await_answer(url, process, directory / "log")
        yield Pooled(url, postgres.url.rpartition("/")[0] + f"/{name}", version)
    finally:
        process.terminate()
        process.wait(START_SECONDS)
        shutil.rmtree(directory)
        run_sql(postgres.url, f'drop database "{name}" with (force)')


def version_of(program: str) -> tuple[int, ...]:
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    return tuple(map(int, told.split()[1].split(".")))


def await_answer(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while True:
        try:
            run_sql(url, "select 1")
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up_at, log.read_text()
            time.sleep(0.05)
