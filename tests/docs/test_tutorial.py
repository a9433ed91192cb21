"""The tutorial runs from top to bottom, and its commands answer what it shows."""

import asyncio
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import StartService
from tests.support.service import POLL_SECONDS, ServiceProcess, clean_environment

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
STEP = re.compile(r"^```(bash(?: run)?)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
SETTLING_SECONDS = 10.0  # until a key is known, and the same is read again meanwhile
LEFT_OUT = '(?:(?!"position":).)*?'
STARTS = {"make run\n": "none", "FACTWIRE_AUTH=keys make run\n": "keys"}


@pytest.mark.timeout(120)
async def test_the_tutorial_answers_what_it_shows(start_service: StartService, tmp_path: Path) -> None:
    """In one directory and on one log that was empty, with a service for each `make run`."""
    service: ServiceProcess | None = None
    for kind, commands, shown in STEP.findall(TUTORIAL.read_text()):
        if kind == "bash":
            service = await start_service(auth=STARTS[commands])
            continue
        assert service is not None
        assert shown, f"nothing is shown for {commands}"
        until = time.monotonic() + (0 if " -d " in commands else SETTLING_SECONDS)
        while not pattern(shown).fullmatch(blank(answered := run(commands, service, tmp_path))):
            assert time.monotonic() < until, f"{commands}shows\n{shown}but is\n{answered}"
            await asyncio.sleep(POLL_SECONDS)


def run(commands: str, service: ServiceProcess, directory: Path) -> str:
    """Run what a reader would, with an end to what would follow for ever."""
    script = commands.replace("http://127.0.0.1:8000", service.url).replace(".venv/bin/", "")
    script = re.sub(r"\bcurl ", "curl --silent --show-error --noproxy '*' ", script)
    script = script.replace(" -N ", " -N --max-time 2 ")
    environment = clean_environment() | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "FACTWIRE_DATABASE_URL": service.database_url,
        "NO_PROXY": "*",
    }
    done = subprocess.run(
        ["bash", "-c", f"set -eo pipefail\n{script}"],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode in {0, 28}, done.stderr  # 28: curl's own time limit ended the stream
    return done.stdout


def pattern(shown: str) -> re.Pattern[str]:
    """What matches an answer: an ellipsis stands for anything but a fact, and blanks and line breaks for nothing."""
    return re.compile(LEFT_OUT.join(re.escape(part) for part in blank(shown).split("…")))


def blank(text: str) -> str:
    return re.sub(r"\s", "", text)
