"""The image, built once, and databases that it reaches over TCP."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

import pytest

from tests.faults.pair import Node
from tests.image.container import build
from tests.support.postgres import run_sql

IMAGE = "localhost/factwire:test"


@pytest.fixture(scope="session")
def image() -> str:
    build(IMAGE)
    return IMAGE


@pytest.fixture(scope="session")
def postgres() -> Iterator[Node]:
    directory = Path(mkdtemp(prefix="factwire-image-"))
    directory.chmod(0o777)
    node = Node(directory / "postgres")
    node.initialise()
    node.start()
    yield node
    node.remove()
    shutil.rmtree(directory)


@pytest.fixture
def empty_database_url(postgres: Node) -> str:
    """A database of the test's own, without a schema."""
    name = f"image_{uuid4().hex[:12]}"
    run_sql(postgres.url, f'create database "{name}"')
    return postgres.url.removesuffix("postgres") + name
