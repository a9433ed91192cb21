"""The lock files agree with each other and with the project."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
RELEASE = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def releases(name: str) -> dict[str, str]:
    return dict(RELEASE.findall((ROOT / name).read_text()))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[>=]", each)[0] for each in requirements}


def test_the_image_takes_the_releases_of_the_others_without_the_embedded_postgres() -> None:
    image, everything, development = map(
        releases, ("requirements-image.txt", "requirements.txt", "requirements-dev.txt")
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    embedded = names(project["optional-dependencies"]["embedded"])
    assert image.items() < everything.items() < development.items()
    assert embedded <= everything.keys() - image.keys()
    assert names(project["dependencies"]) <= image.keys()
    assert names(project["optional-dependencies"]["tracing"]) <= image.keys()
