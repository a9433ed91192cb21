"""The wheel, installed into an environment of its own: `factwire serve` in an empty directory."""

import asyncio
import json
import subprocess
import sys
import zipfile
from asyncio.subprocess import PIPE
from functools import partial
from pathlib import Path

import httpx
import pytest

from factwire import __version__
from tests.support.service import ROOT, clean_environment, free_port
from tests.support.waiting import until

BINARIES = Path(sys.executable).parent


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    directory = tmp_path / "dist"
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=50)
    return next(directory.glob("*.whl"))


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """The folder of the commands. What the wheel depends on is that of this environment."""
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=50)
    packages = next(environment.glob("lib/python*/site-packages"))
    installing = [
        str(BINARIES / "uv"),
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--python",
        str(environment),
    ]
    subprocess.run([*installing, str(wheel)], check=True, timeout=50)
    (packages / "dependencies.pth").write_text(f"{next(BINARIES.parent.glob('lib/python*/site-packages'))}\n")
    return environment / "bin"


def test_the_wheel_has_all_that_it_needs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("py.typed", "ui/index.html", "alembic/env.py", "openapi/examples/fact.json"):
        assert f"factwire/{name}" in names
    assert {name.split("/")[0] for name in names} == {"factwire", f"factwire-{__version__}.dist-info"}
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert [name for name in names if "__pycache__" in name] == []


def test_an_installed_wheel_works_in_a_project_that_has_a_package_app(installed: Path, tmp_path: Path) -> None:
    """As FastAPI's own tutorial lays a project out."""
    (tmp_path / "project" / "app").mkdir(parents=True)
    (tmp_path / "project" / "app" / "__init__.py").touch()
    run = partial(
        subprocess.run,
        cwd=tmp_path / "project",
        env=clean_environment() | {"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    for command in ([str(installed / "factwire")], [str(installed / "python"), "-m", "factwire"]):
        assert run([*command, "--version"]).stdout == f"factwire {__version__}\n"
    assert run([str(installed / "python"), "-c", "import app; print(app.__file__)"]).stdout.startswith(str(tmp_path))


@pytest.mark.timeout(120)
async def test_an_installed_wheel_serves_in_an_empty_directory(
    installed: Path, data_directory: Path, tmp_path: Path
) -> None:
    empty, port = tmp_path / "empty", free_port()
    empty.mkdir()
    environment = clean_environment() | {"FACTWIRE_PORT": str(port), "FACTWIRE_URL": f"http://127.0.0.1:{port}"}
    environment["FACTWIRE_DATA_DIR"] = str(data_directory)
    factwire = partial(asyncio.create_subprocess_exec, str(installed / "factwire"), cwd=empty, env=environment)
    serving = await factwire("serve")
    try:
        async with httpx.AsyncClient(base_url=environment["FACTWIRE_URL"], timeout=10) as client:

            async def is_ready() -> bool:
                try:
                    return (await client.get("/readyz")).is_success
                except httpx.TransportError:
                    return False

            await until(is_ready, seconds=60)
            assert "Factwire" in (await client.get("/")).text
            assert (await client.get("/docs")).is_success
            assert (await client.get("/problems/condition-failed")).is_success
            publishing = await factwire("publish", "shop", "Noted", "1", stdout=PIPE)
            published, _ = await asyncio.wait_for(publishing.communicate(), 30)
            assert json.loads(published)["position"] == 1
            assert (await client.get("/openapi.json")).json()["info"]["version"] == __version__
    finally:
        serving.terminate()
        assert await asyncio.wait_for(serving.wait(), 30) == 0
    assert list(empty.iterdir()) == []
