"""Clients generated from the OpenAPI document, each as its users would make it, and the scenario against it."""

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.service import ROOT

DOCUMENT = ROOT / "openapi" / "openapi.json"
PAGE = ROOT / "docs" / "sdks.md"
SDKS = ROOT / "tests" / "sdks"
TOOLS = ROOT / ".venv-sdks" / "bin"
# The library of the generated code, as it comes with the generator, and what Debian has of the rest.
JARS = ":".join(
    [
        *map(str, (ROOT / ".venv-sdks" / "lib").glob("*/site-packages/openapi_generator_cli/*.jar")),
        "/usr/share/java/geronimo-annotation-1.3-spec.jar",
    ]
)
TSC = (
    *("node", str(SDKS / "node_modules" / "typescript" / "bin" / "tsc"), "--strict"),
    *("--target", "es2022", "--lib", "es2022,dom,dom.iterable", "--module", "nodenext", "--types", "node"),
    *("--typeRoots", str(SDKS / "node_modules" / "@types")),
)


def python_openapi_generator(directory: Path) -> list[str]:
    make(directory, "Python, openapi-generator")
    (directory / "factwire_sdk").symlink_to(directory / "factwire-sdk" / "factwire_sdk")
    return python(directory, "python_openapi_generator.py")


def python_openapi_python_client(directory: Path) -> list[str]:
    make(directory, "Python, openapi-python-client")
    return python(directory, "python_openapi_python_client.py")


def typescript_openapi_generator(directory: Path) -> list[str]:
    make(directory, "TypeScript, openapi-generator")
    return typescript(directory, "typescript_openapi_generator.mts")


def typescript_openapi_typescript(directory: Path) -> list[str]:
    make(directory, "TypeScript, openapi-typescript")
    return typescript(directory, "typescript_openapi_typescript.mts")


def typescript_hey_api(directory: Path) -> list[str]:
    make(directory, "TypeScript, hey-api/openapi-ts")
    return typescript(directory, "typescript_hey_api.mts")


def go_openapi_generator(directory: Path) -> list[str]:
    make(directory, "Go, openapi-generator")
    (directory / "main.go").symlink_to(SDKS / "go_openapi_generator.go")
    run(["go", "vet", "."], directory)
    run(["go", "build", "-o", "scenario", "."], directory)
    return [str(directory / "scenario")]


def java_openapi_generator(directory: Path) -> list[str]:
    make(directory, "Java, openapi-generator")
    sources = [*(directory / "factwire-sdk" / "src" / "main").rglob("*.java"), SDKS / "JavaOpenapiGenerator.java"]
    run(["javac", "-nowarn", "-d", "classes", "-cp", JARS, *sources], directory)
    return ["java", "-cp", f"{directory / 'classes'}:{JARS}", "JavaOpenapiGenerator"]


MAKERS: tuple[Callable[[Path], list[str]], ...] = (
    python_openapi_generator,
    python_openapi_python_client,
    typescript_openapi_generator,
    typescript_openapi_typescript,
    typescript_hey_api,
    java_openapi_generator,
    go_openapi_generator,
)


def make(directory: Path, heading: str) -> None:
    """Run the command that docs/sdks.md has under a heading, as its reader would."""
    (directory / "openapi.json").symlink_to(DOCUMENT)
    (directory / "node_modules").symlink_to(SDKS / "node_modules")
    section = PAGE.read_text().split(f"\n## {heading}\n")[1]
    command = section.split("```bash\n")[1].split("```")[0]
    run(["bash", "-ec", command], directory)


def python(directory: Path, scenario: str) -> list[str]:
    """The command of a scenario in Python: the client is found beside it."""
    (directory / scenario).symlink_to(SDKS / scenario)
    return ["env", f"PYTHONPATH={directory}", str(TOOLS / "python"), str(directory / scenario)]


def typescript(directory: Path, scenario: str) -> list[str]:
    """The command of a scenario in TypeScript, checked and compiled with its client."""
    (directory / "package.json").write_text('{"type": "module"}')
    (directory / scenario).write_text((SDKS / scenario).read_text())
    run([*TSC, "--outDir", "built", scenario], directory)
    return ["node", str(directory / "built" / Path(scenario).with_suffix(".mjs"))]


def run(command: Sequence[object], directory: Path) -> None:
    """Run a tool in a directory. What it says is shown where it fails."""
    environment = os.environ | {"PATH": f"{TOOLS}:{os.environ['PATH']}"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
