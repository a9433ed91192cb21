"""The lock files are layers that agree with each other and with the project, and name no download address."""

import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.service import ROOT

LOCKS = ROOT / "locks"
RELEASE = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)
LAYERS = ("core.txt", "embedded.txt", "dev.txt")


def releases(name: str) -> dict[str, str]:
    return dict(RELEASE.findall((LOCKS / name).read_text()))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[>=]", each)[0] for each in requirements}


def test_each_layer_adds_to_the_one_below() -> None:
    for lower, upper in itertools.pairwise(LAYERS):
        assert (LOCKS / upper).read_text().startswith(f"-r {lower}\n")
        assert releases(upper)
        assert not releases(upper).keys() & releases(lower).keys()


def test_the_core_is_the_service_without_the_embedded_postgres() -> None:
    core, embedded = map(releases, LAYERS[:2])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert names(project["optional-dependencies"]["embedded"]) <= embedded.keys()
    assert names(project["dependencies"]) <= core.keys()
    assert names(project["optional-dependencies"]["tracing"]) <= core.keys()


@pytest.mark.parametrize("path", sorted(LOCKS.glob("*.txt")), ids=lambda path: str(path.name))
def test_a_lock_file_names_no_download_address(path: Path) -> None:
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", path.read_text())


def test_a_release_that_differs_from_the_layer_below_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lower.txt").write_text("alembic==1 \\\n    --hash=sha256:00\n")
    command = [sys.executable, str(LOCKS / "layer.py"), str(tmp_path / "lower.txt")]
    done = subprocess.run(command, input="alembic==2 \\\n    --hash=sha256:11\n", capture_output=True, text=True)
    assert done.returncode != 0
    assert "alembic==1" in done.stderr
