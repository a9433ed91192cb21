"""compose.yaml without Docker: its commands, with its environment, against a PostgreSQL of the same release."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]

from tests.conftest import StartService
from tests.support.postgres import Databases, run_sql
from tests.support.service import ROOT, clean_environment

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
SECONDS = 30.0


def environment_of(service: str, **instead: str) -> dict[str, str]:
    """The environment of a service, with addresses of this machine in place of names of its network."""
    given: dict[str, str] = COMPOSE[service]["environment"]
    assert instead.keys() <= given.keys()
    return clean_environment() | {"PYTHONPATH": str(ROOT / "app")} | given | instead


async def run(command: list[str], environment: dict[str, str]) -> str:
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, cwd="/", capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def settings_of(service: str) -> dict[str, Any]:
    environment: dict[str, str] = COMPOSE[service]["environment"]
    return {
        name.removeprefix("FACTWIRE_").lower(): value
        for name, value in environment.items()
        if name.startswith("FACTWIRE_") and name != "FACTWIRE_DATABASE_URL"
    }


@pytest.fixture
def empty_database_url(databases: Databases) -> Iterator[str]:
    url = databases.url(f"{databases.prefix}_compose")
    run_sql(databases.server_url, f'create database "{databases.prefix}_compose"')
    yield url
    databases.drop(url)


async def test_its_commands_serve_a_shop(start_service: StartService, empty_database_url: str) -> None:
    migrate = COMPOSE["migrate"]
    program = [sys.executable, "-m", "factwire"]
    await run([*program, *migrate["command"]], environment_of("migrate", FACTWIRE_DATABASE_URL=empty_database_url))
    assert COMPOSE["factwire"]["command"] == ["serve"]
    service = await start_service(database_url=empty_database_url, **settings_of("factwire"))
    in_network = COMPOSE["demo"]["environment"]["FACTWIRE_URL"].removeprefix("http://")
    async with httpx.AsyncClient(base_url=service.url) as client:
        assert (await client.get("/v1/position", headers={"host": in_network})).status_code == 200
        assert (await client.get("/v1/position", headers={"host": "elsewhere"})).status_code == 421
    (mounted,) = COMPOSE["demo"]["volumes"]
    shop = str(ROOT / mounted.split(":")[0])
    said = await run([sys.executable, shop, "20"], environment_of("demo", FACTWIRE_URL=service.url))
    assert said.count("published at position") == 20
    async with httpx.AsyncClient(base_url=service.url) as client:
        facts = (await client.get("/v1/facts", params={"namespace": "shop"})).json()["facts"]
    assert {fact["type"] for fact in facts} <= {"OrderPlaced", "OrderPaid", "OrderShipped"}
    assert len(facts) == 20


def test_everything_that_is_mounted_or_built_is_there() -> None:
    for service in COMPOSE.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (ROOT / source).is_file()
        if "build" in service:
            assert (ROOT / service["build"] / "Dockerfile").is_file()
    assert COMPOSE["factwire"]["ports"] == ["127.0.0.1:8000:8000"]


def test_the_devcontainer_makes_what_the_makefile_has() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    targets = container["postCreateCommand"].removeprefix("make ").split()
    asked = subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    assert asked.returncode == 0, asked.stderr
    assert Path(container["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]).name == "python"
