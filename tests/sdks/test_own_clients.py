"""The clients of this repository as they are delivered: generated from what is here, and beside old libraries."""

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.service import ROOT, ServiceProcess, clean_environment

pytestmark = pytest.mark.sdks

GENERATED = (
    *(f"python/factwire_client/{name}.py" for name in ("models", "problems")),
    *(f"python/factwire_client/_sync/{name}.py" for name in ("client", "closing", "views")),
    *(f"typescript/src/{name}.ts" for name in ("models", "problems")),
)
SECONDS = 120.0
# Two years before the first release.
OLD = ("httpx==0.24.1", "anyio==3.7.1", "httpcore==0.17.3", "certifi==2023.11.17", "pytest==7.4.4")
TRY = """
import sys
from factwire_client import Factwire, NewFact, Query

with Factwire(sys.argv[1]) as log:
    published = log.publish("floors", "OrderPlaced", {"total": 5}, aggregate_ids=["order-1"])
    query = Query(namespaces=["floors"])
    log.decide(query, lambda facts: NewFact("floors", "Counted", len(facts)))
    assert [fact.payload for fact in log.follow(query, until_caught_up=True)] == [{"total": 5}, 1]
    assert [fact.payload for fact in log.read(query, newest_first=True)] == [1, {"total": 5}]
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(command, cwd=ROOT / "clients" / "python", check=True, capture_output=True, timeout=SECONDS)
    return next(directory.glob("*.whl"))


def test_what_is_generated_is_what_the_documents_say(tmp_path: Path) -> None:
    for name in ("clients", "docs", "openapi"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("node_modules", "dist"))
    (tmp_path / "clients/typescript/node_modules").symlink_to(ROOT / "clients/typescript/node_modules")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = [str(ROOT / ".venv-clients/bin/python"), "clients/generate.py"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=SECONDS)
    differing = [name for name in GENERATED if not filecmp.cmp(ROOT / "clients" / name, tmp_path / "clients" / name)]
    assert differing == [], "make clients"


def test_the_python_client_works_beside_libraries_that_are_two_years_old(
    service: ServiceProcess, wheel: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, timeout=SECONDS)
    pip = [str(environment / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"{wheel}[testing]", *OLD], check=True, timeout=SECONDS)
    python = str(environment / "bin" / "python")
    subprocess.run([python, "-c", TRY, service.url], check=True, cwd=tmp_path, env=clean_environment(), timeout=SECONDS)
    (tmp_path / "test_own.py").write_text(
        "def test_one(facts):\n    facts.given('A')\n    assert len(facts.published()) == 1\n"
    )
    environ = clean_environment() | {"FACTWIRE_COMMAND": f"env PYTHONPATH={ROOT / 'app'} {sys.executable} -m factwire"}
    tested = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(tested, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=SECONDS)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_typescript_client_is_packed_with_what_it_needs(tmp_path: Path) -> None:
    package = ROOT / "clients" / "typescript"
    pack = ["npm", "pack", "--ignore-scripts", "--silent", "--pack-destination", str(tmp_path)]
    subprocess.run(pack, cwd=package, check=True, timeout=SECONDS, stdout=subprocess.DEVNULL)
    [archive] = tmp_path.glob("*.tgz")
    shutil.unpack_archive(archive, tmp_path)
    names = {path.relative_to(tmp_path / "package").as_posix() for path in (tmp_path / "package").rglob("*")}
    assert {"dist/index.js", "dist/index.d.ts", "dist/testing.js", "src/client.ts", "README.md", "LICENSE"} <= names
    assert not any(name.startswith("node_modules") for name in names)
    assert os.path.getsize(archive) < 64 * 1024
