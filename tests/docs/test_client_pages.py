"""docs/python.md, docs/testing.md and the README: their Python programs run as they stand."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import StartService
from tests.docs.test_blocks import blocks
from tests.recipes.programs import running
from tests.support.service import ROOT, clean_environment
from tests.support.waiting import until


def programs(page: str, kind: str) -> list[str]:
    return [text for name, each, text in blocks() if name == page and each == kind]


async def test_the_programs_of_the_python_page_run(
    start_service: StartService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service()
    monkeypatch.chdir(tmp_path)
    program = "\n".join(programs("docs/python.md", "python")).replace("http://127.0.0.1:8000", service.url)
    known: dict[str, object] = {}
    exec(compile(program, "docs/python.md", "exec"), known)
    assert known["placed"].payload.total == 12.5  # type: ignore[attr-defined]
    known["log"].close()  # type: ignore[attr-defined]
    known["shop"].close()  # type: ignore[attr-defined]
    known["patient"].close()  # type: ignore[attr-defined]
    known["view"].close()  # type: ignore[attr-defined]


def test_the_tests_of_the_testing_page_pass(tmp_path: Path) -> None:
    (tmp_path / "test_page.py").write_text("".join(programs("docs/testing.md", "python")))
    environment = clean_environment() | {"PYTHONPATH": f"{ROOT / 'app'}:{ROOT / 'clients' / 'python'}"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "factwire_client.testing.plugin", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-n", "0"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


async def test_the_program_of_the_readme_runs(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service()
    (program,) = programs("README.md", "python")
    path = tmp_path / "place.py"
    path.write_text(program.replace("http://127.0.0.1:8000", service.url))
    async with running([sys.executable, "-u", str(path)], log_path=tmp_path / "said") as placing:
        await until(lambda: "OrderPlaced {'total': 8}" in placing.said)
    assert len([line for line in program.splitlines() if line]) == 8
