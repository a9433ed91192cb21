"""compose.yaml and the rules of its format, by a parser of it."""

import subprocess

import pytest

from tests.support.service import ROOT

pytestmark = pytest.mark.deploy

PARSE = """
import sys
from compose_spec import PyOptions

options = PyOptions()
options.apply_merge = True
compose = options.from_yaml(sys.stdin.read())
compose.validate()
print(" ".join(sorted(compose.service_names())))
"""


def parsed(text: str) -> subprocess.CompletedProcess[str]:
    python = str(ROOT / ".venv-deploy" / "bin" / "python")
    return subprocess.run([python, "-c", PARSE], input=text, capture_output=True, text=True, timeout=30)


def test_the_file_is_valid() -> None:
    done = parsed((ROOT / "compose.yaml").read_text())
    assert (done.returncode, done.stdout) == (0, "demo factwire migrate postgres\n"), done.stderr


@pytest.mark.parametrize(
    ("right", "wrong"), [("command: [serve]", "comand: [serve]"), ("interval: 2s", "interval: soon")]
)
def test_a_wrong_one_is_refused(right: str, wrong: str) -> None:
    assert parsed((ROOT / "compose.yaml").read_text().replace(right, wrong)).returncode != 0
