"""A shell as the reader of a page has it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.service import ROOT


def shell(script: str, environment: dict[str, str], directory: Path) -> str:
    """What a script prints, run as a reader would whose `factwire` is on the path."""
    path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=directory,
        env=environment | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout
