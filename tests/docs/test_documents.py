"""What the documentation says is there, and nothing that is there goes unsaid."""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from factwire.api.http.models import Fact
from factwire.api.http.problems import STATUSES
from factwire.settings import Settings, range_of
from tests.docs.shell import shell
from tests.support.service import ServiceProcess, clean_environment

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")])
PROTOCOL_CODES = {
    "headers-too-large",
    "malformed-request",
}  # by app/factwire/server/uvicorn_protocol/timeouts.py, before there is a request

LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
TO_RUN = re.compile(r"^```bash run\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROMISE = re.compile(r"^\| (P\d) \|([^|]+)\|([^|]+)\|([^|]+)\|$", re.MULTILINE)


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text())


def anchors(path: Path) -> set[str]:
    """The anchors of the headings as GitHub makes them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in HEADING.findall(prose(path))
    }


def codes() -> set[str]:
    return {each.code for each in STATUSES}


def links() -> Iterator[tuple[Path, str]]:
    for path in DOCUMENTS:
        for _, target in LINK.findall(prose(path)):
            yield path, target


@pytest.mark.parametrize(("path", "target"), list(links()), ids=lambda value: getattr(value, "name", value))
def test_every_link_leads_somewhere(path: Path, target: str) -> None:
    if target.startswith("http"):
        return
    name, _, anchor = target.partition("#")
    aim = (path.parent / name).resolve() if name else path
    assert aim.exists()
    assert aim.is_relative_to(ROOT)
    if anchor:
        assert anchor in anchors(aim)


def test_every_problem_has_a_heading_and_every_heading_a_problem() -> None:
    headings = re.findall(r"^## (.+)$", prose(ROOT / "docs" / "problems.md"), re.MULTILINE)
    assert sorted(headings) == sorted(codes() | PROTOCOL_CODES)


def test_what_the_server_itself_refuses_has_a_heading() -> None:
    text = (ROOT / "app" / "factwire" / "server" / "uvicorn_protocol" / "timeouts.py").read_text()
    refusals = re.findall(r'self\._refuse\(\s*\d+, b"[^"]+", b"([a-z-]+)"', text)
    assert sorted(refusals) == ["headers-too-large", "malformed-request", "request-timeout"]
    assert set(refusals) <= codes() | PROTOCOL_CODES


def test_every_setting_is_documented_with_its_default_and_every_documented_one_exists() -> None:
    rows = re.findall(
        r"^\| `FACTWIRE_(\w+)` \| `?([^`|]*?)`?(?: \([^|]*\))? \|([^|]*)\|", prose(ROOT / "docs/operations.md"), re.M
    )
    documented = {name.lower(): (default.strip(), values.strip()) for name, default, values in rows}
    fields = Settings.model_fields.items()
    assert documented == {name: (shown(field.default), shown_range(name)) for name, field in fields}


def shown_range(name: str) -> str:
    bounds = range_of(name)
    return " to ".join(sized(bound) if "bytes" in name else f"{bound:.15g}" for bound in bounds) if bounds else ""


def sized(count: float) -> str:
    for power, unit in ((3, " GiB"), (2, " MiB"), (1, " KiB")):
        if count >= 1024**power:
            return f"{count / 1024**power:g}{unit}"
    return f"{count:g}"


def shown(default: object) -> str:
    if default is None:
        return "unset"
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_no_page_names_a_setting_that_does_not_exist() -> None:
    of_tests = {"FACTWIRE_TEST_DATABASE_URL", "FACTWIRE_TEST_PGBOUNCER", "FACTWIRE_PICTURES", "FACTWIRE_COMMAND"}
    of_tests |= {"FACTWIRE_SUBSCRIPTION", "FACTWIRE_LEASE", "FACTWIRE_ATTEMPT"}  # of the commands of a worker
    known = {f"FACTWIRE_{name.upper()}" for name in Settings.model_fields} | of_tests
    for path in DOCUMENTS:
        assert set(re.findall(r"FACTWIRE_[A-Z_]*[A-Z]", path.read_text())) <= known, path


def promises() -> list[tuple[str, ...]]:
    return PROMISE.findall((ROOT / "README.md").read_text())


def test_the_protocol_shows_a_fact_with_all_its_members() -> None:
    example = re.search(r"^## A fact\n\n```json\n(.*?)^```", (ROOT / "docs" / "protocol.md").read_text(), re.M | re.S)
    assert example is not None
    fields = msgspec.structs.fields(Fact)
    assert list(json.loads(example[1])) == [field.name for field in fields if field.required]
    further = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "protocol.md").read_text().split("## A fact")[1], re.M)
    assert {field.name for field in fields if not field.required} <= set(further)


def test_every_metric_is_documented_and_every_documented_one_exists(service: ServiceProcess) -> None:
    told = httpx.get(f"{service.url}/metrics", timeout=30, verify=False).text
    names = {name for name in re.findall(r"^# TYPE (\S+)", told, re.MULTILINE) if not name.endswith("_created")}
    documented = re.findall(r"^\| `(factwire_[a-z_]+)` \|", prose(ROOT / "docs" / "operations.md"), re.MULTILINE)
    assert sorted(documented) == sorted(names)


def test_there_are_nine_promises() -> None:
    assert [promise[0] for promise in promises()] == [f"P{number}" for number in range(1, 10)]


@pytest.mark.parametrize("promise", promises(), ids=lambda promise: promise[0])
def test_each_promise_names_what_keeps_it_and_a_test(promise: tuple[str, ...]) -> None:
    _, _, keepers, proofs = promise
    kept, proven = LINK.findall(keepers), LINK.findall(proofs)
    assert kept
    assert proven
    for label, target in kept:
        assert label.strip("`") in (ROOT / target).read_text()
    for label, target in proven:
        assert label.strip("`") in functions(ROOT / target)


def functions(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for path in DOCUMENTS:
        for target in re.findall(r"(?:^|`)make ((?:[a-z-]+ ?)+)(?:`|$)", path.read_text(), re.MULTILINE):
            for name in target.split():
                assert re.search(rf"^{name}:", makefile, re.MULTILINE), (path.name, name)


def test_the_commands_of_the_readme_run(service: ServiceProcess) -> None:
    """As they stand, but against the service of the test, and with an end to what would follow for ever."""
    blocks = TO_RUN.findall((ROOT / "README.md").read_text())
    assert len(blocks) == 3
    answers = [run(block, service.url) for block in blocks]
    assert '"position"' in answers[0]
    assert '"facts":[{"position":' in answers[0]
    assert "event: caught-up" in answers[0]
    assert '"position"' in answers[1]
    assert '"lease":"' in answers[2]
    assert "urn:factwire:problem:condition-failed" in run(blocks[1], service.url)


IN_ORDER = {"README.md", "tutorial.md"}  # their commands rest on those before, and have tests of their own
OTHER_BLOCKS = [
    (path, block) for path in DOCUMENTS if path.name not in IN_ORDER for block in TO_RUN.findall(path.read_text())
]


@pytest.mark.parametrize(("path", "block"), OTHER_BLOCKS, ids=[path.name for path, _ in OTHER_BLOCKS])
def test_the_commands_of_a_page_run(service: ServiceProcess, tmp_path: Path, path: Path, block: str) -> None:
    script = f"set -eo pipefail\n{block}".replace("http://127.0.0.1:8000", service.url)
    shell(script, clean_environment(), tmp_path)


def run(block: str, url: str) -> str:
    script = block.replace("http://127.0.0.1:8000", url).replace("curl -N", "curl -N --max-time 2")
    script = re.sub(r"^curl ", "curl --silent --show-error --noproxy '*' ", script, flags=re.MULTILINE)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode in {0, 28}, done.stderr  # 28: curl's own time limit ended the stream
    return done.stdout
