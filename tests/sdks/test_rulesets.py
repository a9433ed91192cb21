"""The OpenAPI document holds the rules that others check documents with."""

import subprocess
from pathlib import Path

import pytest

from tests.sdks.generating import DOCUMENT, SDKS

BIN = SDKS / "node_modules" / ".bin"
NEWER = DOCUMENT.with_name("openapi-3.2.json")

pytestmark = [pytest.mark.sdks, pytest.mark.timeout(120)]


@pytest.mark.parametrize("document", [DOCUMENT, NEWER], ids=lambda path: path.stem)
def test_redocly_recommends_nothing_else(document: Path) -> None:
    check([BIN / "redocly", "lint", "--extends=recommended", "--format=stylish", document], SDKS)


def test_spectral_finds_no_error(tmp_path: Path) -> None:
    """Its rules for OpenAPI know nothing newer than 3.1."""
    ruleset = tmp_path / "ruleset.yaml"
    ruleset.write_text('extends: ["spectral:oas"]\n')
    check([BIN / "spectral", "lint", "--ruleset", ruleset, "--fail-severity=error", DOCUMENT], tmp_path)


def test_a_document_with_an_error_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "openapi.json"
    broken.write_text(DOCUMENT.read_text().replace('"servers"', '"x-servers"'))
    assert run([BIN / "redocly", "lint", "--extends=recommended", broken], SDKS).returncode == 1


def check(command: list[object], directory: Path) -> None:
    done = run(command, directory)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def run(command: list[object], directory: Path) -> subprocess.CompletedProcess[str]:
    words = ["env", "REDOCLY_TELEMETRY=off", *map(str, command)]
    return subprocess.run(words, cwd=directory, capture_output=True, text=True, timeout=60, check=False)
