"""Suites of other event stores, on adapters over HTTP: each runs against a service with an empty log."""

import asyncio
import os
import subprocess
from collections.abc import Sequence

import pytest

from tests.conftest import StartService
from tests.support.service import ROOT

SUITES = ROOT / "tests" / "suites"
PYTHON = ROOT / ".venv-suites" / "bin" / "python"
EVENTSOURCING = (
    *(str(PYTHON), "-m", "pytest", str(SUITES / "eventsourcing_suite.py"), "--rootdir", str(SUITES)),
    *("--confcutdir", str(SUITES), "-c", "/dev/null", "-p", "no:cacheprovider"),
)
EMMETT = ("node", "--test", str(SUITES / "emmett_suite.mjs"))

pytestmark = [pytest.mark.suites, pytest.mark.timeout(120)]


@pytest.mark.parametrize(("command", "passed"), [(EVENTSOURCING, "7 passed"), (EMMETT, "# pass 8")])
async def test_a_suite_of_others_passes(start_service: StartService, command: Sequence[str], passed: str) -> None:
    service = await start_service()
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=ROOT,
        env=os.environ | {"FACTWIRE_URL": service.url},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert passed in done.stdout
