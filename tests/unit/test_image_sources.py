"""The sources of the image: what the Dockerfile copies must not be kept from the build."""

import re

from tests.support.service import ROOT

COPIED = re.compile(r"^COPY (?!--from)(\S+) ", re.MULTILINE)


def test_all_that_the_dockerfile_copies_is_let_through() -> None:
    everything, *excepted = (ROOT / ".dockerignore").read_text().split()
    assert everything == "*"
    let_through = {line.removeprefix("!") for line in excepted if line.startswith("!")}
    copied = COPIED.findall((ROOT / "Dockerfile").read_text())
    assert len(copied) > 4
    assert set(copied) - let_through == set()
