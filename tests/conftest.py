"""What every test may ask for: databases, services and clients."""

import asyncio
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support import postgres
from tests.support.forks import Forks
from tests.support.issuer import IssuerServer
from tests.support.postgres import Databases, ThrowawayPostgres, run_sql, url_as
from tests.support.service import FORKS, ROOT, SERVE, ServiceProcess, settings_of

SERVING_GRANTS = re.compile(r"^(?:grant .* to app;\n)+", re.MULTILINE)

RUN_DIRECTORY = pytest.StashKey[Path]()

StartService = Callable[..., Awaitable[ServiceProcess]]
StartPostgres = Callable[[], ThrowawayPostgres]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("factwire")
    group.addoption("--base-url", help="run the conformance cases against this service instead of one of our own")
    group.addoption("--epoch-command", help="shell command that raises its epoch; {forked_after} is replaced")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the directory of the run once, for all workers."""
    given: str | None = getattr(config, "workerinput", {}).get("run_directory")
    if given is None:
        # Whoever ends a run early ends its PostgreSQL as well.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    if sys.platform == "linux":
        FORKS.append(Forks(ROOT))
    config.stash[RUN_DIRECTORY] = Path(given or mkdtemp(prefix="factwire-tests-"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["run_directory"] = str(node.config.stash[RUN_DIRECTORY])


def pytest_unconfigure(config: pytest.Config) -> None:
    while FORKS:
        FORKS.pop().close()
    if not hasattr(config, "workerinput"):
        postgres.remove_run(config.stash[RUN_DIRECTORY])


@pytest.fixture(scope="session")
def databases(pytestconfig: pytest.Config) -> Databases:
    return postgres.databases_of_run(pytestconfig.stash[RUN_DIRECTORY])


@pytest.fixture(scope="session")
def worker_database_url(databases: Databases) -> str:
    return databases.create()


@pytest.fixture
def database_url(databases: Databases, worker_database_url: str) -> str:
    """The worker's database with an empty log."""
    databases.empty(worker_database_url)
    return worker_database_url


@pytest.fixture
def fresh_database_url(databases: Databases) -> Iterator[str]:
    """A database of the test's own, with an empty log."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture
def serving_url(databases: Databases, fresh_database_url: str) -> Iterator[str]:
    """The test's database as a role opens it that has only the rights of docs/operations.md."""
    role = f"{databases.prefix}_{uuid4().hex[:6]}_serving"
    run_sql(fresh_database_url, f"create role {role} login password 'serving'")
    grants = SERVING_GRANTS.search((ROOT / "docs" / "operations.md").read_text())
    assert grants is not None
    run_sql(fresh_database_url, grants[0].replace(" to app;", f" to {role};"))
    yield url_as(fresh_database_url, role, "serving")
    run_sql(fresh_database_url, f"drop owned by {role}")
    run_sql(fresh_database_url, f"drop role {role}")


@pytest.fixture
def start_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartPostgres]:
    """Start a PostgreSQL of the test's own, to be stopped and crashed."""
    started: list[ThrowawayPostgres] = []

    def start() -> ThrowawayPostgres:
        server = ThrowawayPostgres(Path(mkdtemp(prefix="factwire-postgres-")) / "data")
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.remove()
        shutil.rmtree(server.directory.parent)


@pytest.fixture
async def start_service(fresh_database_url: str, tmp_path: Path) -> AsyncIterator[StartService]:
    """Start services on the test's own database; a keyword is a setting, `drain_seconds=1` FACTWIRE_DRAIN_SECONDS.

    `port=old.port` starts one where another has ended, `tree=` one of another version, `command=` one
    that Python is to start in another way.
    """
    async with AsyncExitStack() as running:

        async def start(*, tree: Path = ROOT, command: Sequence[str] = SERVE, **settings: object) -> ServiceProcess:
            environment = settings_of(**{"database_url": fresh_database_url} | settings)
            log_path = tmp_path / "service.log"
            process = ServiceProcess(environment, log_path=log_path, tree=tree, command=command)
            return await running.enter_async_context(process)

        yield start


@pytest.fixture(scope="session")
def service(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """The worker's service, shared by its tests: its log holds the facts of earlier tests and is never emptied."""
    environment = settings_of(database_url=databases.create(), auth="none")  # proxies may stand before it
    process = ServiceProcess(environment, log_path=tmp_path_factory.mktemp("service") / "service.log")
    asyncio.run(process.__aenter__())
    yield process
    asyncio.run(process.close())


@pytest.fixture
async def client(service: ServiceProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the worker's service."""
    async with httpx.AsyncClient(base_url=service.url, verify=False) as opened:
        yield opened


@pytest.fixture
async def issuer() -> AsyncIterator[IssuerServer]:
    """A running issuer of tokens."""
    async with IssuerServer() as running:
        yield running


@pytest.fixture
def data_directory() -> Iterator[Path]:
    """A directory that the embedded server's own user can reach."""
    parent = Path(mkdtemp(prefix="factwire-embedded-"))
    yield parent / "data"
    shutil.rmtree(parent)
