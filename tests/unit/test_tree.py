"""Names and places in app/factwire: rules of CONTRIBUTING.md that no linter knows."""

import ast
from collections import defaultdict
from collections.abc import Iterator

import pytest

from factwire.cli.main import COMMANDS
from tests.service import ROOT

PACKAGE = ROOT / "app" / "factwire"
MODULES = sorted(PACKAGE.rglob("*.py"))
SHARED_BY_COMMANDS = {"__init__", "main", "arguments", "client", "database", "exit_codes", "output"}
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60


def definitions(kind: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, kind):
                yield str(path.relative_to(PACKAGE)), node


def test_no_two_classes_share_a_name() -> None:
    places = defaultdict(list)
    for path, node in definitions(ast.ClassDef):
        assert isinstance(node, ast.ClassDef)
        places[node.name].append(path)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_every_module_of_the_command_line_is_a_command() -> None:
    modules = {path.stem for path in (PACKAGE / "cli").glob("*.py")} - SHARED_BY_COMMANDS
    commands = {name.replace("-", "_") for name in COMMANDS} - {"import"} | {"import_facts"}
    assert modules == commands


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_and_functions_are_short(path: object) -> None:
    text = path.read_text()  # type: ignore[attr-defined]
    assert text.count("\n") <= MODULE_LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, node.name
