"""Fixtures of pytest: `factwire`, a server for the run, and `facts`, facts of its own for each test."""

from __future__ import annotations

from typing import Iterator

import pytest

from . import EphemeralServer, Facts


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("factwire").addoption("--factwire-seed", metavar="FILE", help="facts that the log begins with")


@pytest.fixture(scope="session")
def factwire(request: pytest.FixtureRequest) -> Iterator[EphemeralServer]:
    """A service with a new log, for the tests of this run."""
    seed = request.config.getoption("--factwire-seed", None)
    with EphemeralServer(*(["--seed", seed] if seed else [])) as server:
        yield server


@pytest.fixture
def facts(factwire: EphemeralServer) -> Iterator[Facts]:
    """Facts of one test: a namespace of its own, what was published in it, and waiting for followers."""
    factwire.check()
    own = Facts(factwire.url)
    yield own
    own.close()
