"""docs/typescript.md: its programs compile as they stand and run, one after the other."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.clients.typescript_client import TYPESCRIPT
from tests.conftest import StartService
from tests.docs.test_client_pages import programs
from tests.recipes.programs import run

pytestmark = pytest.mark.clients

OPTIONS = {"target": "es2022", "module": "nodenext", "strict": True, "types": ["node"], "skipLibCheck": True}
WRONG = {
    'shop.publish("shop", "OrderPlaced", { total: "12.5" });': "'string' is not assignable to type 'number'",
    'shop.publish("shop", "OrderShipped", {});': "not assignable",
    'log.page({ type: ["A"] });': "'type' does not exist",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in which the client is installed."""
    scope = tmp_path / "node_modules" / "@factwire"
    scope.mkdir(parents=True)
    (scope / "client").symlink_to(TYPESCRIPT)
    (tmp_path / "node_modules" / "@types").symlink_to(TYPESCRIPT / "node_modules" / "@types")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS}))
    return tmp_path


def compiled(project: Path, program: str) -> str:
    """What the compiler complains of."""
    (project / "page.ts").write_text(program)
    compiler = TYPESCRIPT / "node_modules" / "typescript" / "bin" / "tsc"
    done = subprocess.run(["node", str(compiler)], cwd=project, capture_output=True, text=True, timeout=60)
    return done.stdout


async def test_the_programs_of_the_page_compile_and_run(start_service: StartService, project: Path) -> None:
    service = await start_service()
    program = "\n".join(programs("docs/typescript.md", "ts")).replace("http://127.0.0.1:8000", service.url)
    assert compiled(project, program) == ""
    code, said = await run(["bash", "-c", f"cd {project} && node page.js"])
    assert code == 0, said
    assert "12.5" not in said.splitlines()[0]
    assert json.loads((project / "orders.json").read_text())["state"]["orders"] == 2


def test_what_does_not_fit_its_type_does_not_compile(project: Path) -> None:
    program = "\n".join(programs("docs/typescript.md", "ts"))
    for line, complaint in WRONG.items():
        assert complaint in compiled(project, f"{program}\n{line}\n")
