"""docs/recipes/README.md: its commands run as they stand, and it names every program."""

import os
import re
import shutil
import sys
from pathlib import Path

from tests.conftest import StartService
from tests.recipes.programs import DOCS, run

RECIPES = DOCS / "recipes"
PAGE = (RECIPES / "README.md").read_text()
TO_RUN = re.compile(r"^```bash run\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_page_names_every_program() -> None:
    programs = {path.name for path in RECIPES.iterdir() if path.suffix in {".py", ".mjs", ".sh"}}
    assert set(re.findall(r"\[([\w.]+)\]\(\1\)", PAGE)) == programs


async def test_the_commands_of_the_page_run(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service()
    directory = shutil.copytree(RECIPES, tmp_path / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    blocks = "".join(TO_RUN.findall(PAGE)).replace("http://127.0.0.1:8000", service.url)
    script = re.sub(r"^curl ", "curl --silent --show-error --noproxy '*' ", blocks, flags=re.MULTILINE)
    path = f'export PATH="{Path(sys.executable).parent}{os.pathsep}$PATH"'
    code, said = await run(["bash", "-c", f"set -e\ncd {directory}\n{path}\n{script}"])
    assert code == 0, said
    assert re.findall("withdrawn|claimed", said) == ["withdrawn", "claimed", "claimed", "claimed"]
    (event,) = (directory / "events.ndjson").read_text().splitlines()
    assert '"source":"/orders"' in event
