"""Libraries whose undocumented inside is used are bounded from above, and the bound is the version that was tried."""

import re
import tomllib
from importlib.metadata import version

import pytest

from tests.support.service import ROOT

# Raise an entry only after the tests pass with the newer version: each module relies on more than is documented.
TRIED = {
    "uvicorn": ("0.54", "0.55", "app/factwire/serving: the protocol, its cycle, and the shutdown of the server"),
    "sse-starlette": (
        "3.7",
        "4",
        "app/factwire/api/http/sse.py: the parts that it switches off",
    ),
    "limits": ("5.8", "6", "app/factwire/limits/rate_limiter.py: the interface of its storage"),
    "msgspec": ("0.22", "0.23", "app/factwire/api/http/json_decoding.py: the paths in its error messages"),
}
DEPENDENCIES = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


@pytest.mark.parametrize("library", TRIED)
def test_a_newer_release_is_noticed_before_users_do(library: str) -> None:
    tried, bound, where = TRIED[library]
    declared = next(line for line in DEPENDENCIES if re.match(rf"{library}\b", line))
    assert declared == f"{library}>={tried},<{bound}", where
    assert version(library).startswith(f"{tried}."), f"{library} {version(library)} is new: look at {where}"
