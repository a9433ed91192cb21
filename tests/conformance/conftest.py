"""What a case is given: a base URL, a client, a namespace of its own, and a way to raise the epoch.

Against a service that runs already: `pytest tests/conformance --numprocesses 0 --base-url URL --epoch-command COMMAND`,
in one process, because all streams of the service end when its epoch changes.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.conformance.wire import TIMEOUT, epoch_of, eventually, head_cursor, position_of, unique

RaiseEpoch = Callable[[int], Awaitable[None]]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "case(id): the stable name of a case of the contract")


@pytest.fixture
def base_url(request: pytest.FixtureRequest) -> str:
    given = request.config.getoption("--base-url", default=None)
    return str(given or request.getfixturevalue("service").url).rstrip("/")


@pytest.fixture
def start_own(request: pytest.FixtureRequest) -> Callable[[], Awaitable[Any]] | None:
    """Start a service with a log of its own; None against a foreign service, which is taken as it is."""
    if request.config.getoption("--base-url", default=None):
        return None
    start: Callable[[], Awaitable[Any]] = request.getfixturevalue("start_service")
    return start


@pytest.fixture
async def empty_url(request: pytest.FixtureRequest, start_own: Callable[[], Awaitable[Any]] | None) -> str:
    """The base URL of a service whose log is empty; skips where there is none."""
    if start_own is not None:
        return str((await start_own()).url)
    url = str(request.config.getoption("--base-url")).rstrip("/")
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT) as asking:
        if position_of(await head_cursor(asking)) > 0:
            pytest.skip("the log is not empty")
    return url


@pytest.fixture
async def client(base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(base_url=base_url, timeout=TIMEOUT, limits=limits) as opened:
        yield opened


@pytest.fixture
def namespace() -> str:
    return unique("conformance")


@pytest.fixture
def raise_epoch(request: pytest.FixtureRequest, client: httpx.AsyncClient) -> RaiseEpoch:
    """Raise the epoch after a position, and return once the service answers with the new one."""
    command = request.config.getoption("--epoch-command", default=None)
    environment = dict(os.environ)
    if command is None and request.config.getoption("--base-url", default=None):
        pytest.skip("a foreign service needs --epoch-command")
    if command is None:
        environment["FACTWIRE_DATABASE_URL"] = request.getfixturevalue("service").database_url
        command = f"{shlex.quote(sys.executable)} -m factwire epoch raise --forked-after {{forked_after}}"

    async def raise_it(forked_after: int) -> None:
        old = epoch_of(await head_cursor(client))
        await run_command(command.replace("{forked_after}", str(forked_after)), environment)
        await eventually(lambda: head_cursor(client), lambda cursor: epoch_of(cursor) > old)

    return raise_it


async def run_command(command: str, environment: dict[str, str]) -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_shell(command, env=environment, stdout=pipe, stderr=pipe)
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    assert process.returncode == 0, (output + errors).decode()
