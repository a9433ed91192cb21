"""Names and places in app/factwire: rules of CONTRIBUTING.md that no linter knows."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from factwire.cli.main import COMMANDS
from tests.support.service import ROOT

PACKAGE = ROOT / "app" / "factwire"
MODULES = sorted(PACKAGE.rglob("*.py"))
SHARED_BY_COMMANDS = {
    "ephemeral",
    "filter_items",
    "__init__",
    "main",
    "arguments",
    "client",
    "database",
    "exit_codes",
    "output",
}
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


def test_a_transaction_begins_in_the_store_only() -> None:
    begun = [path for path in MODULES if ".transaction(" in path.read_text()]
    assert begun
    assert {path.relative_to(PACKAGE).parts[0] for path in begun} == {"store"}


WHO_CLAUSE = re.compile(r"\b(what|who|whose|whom|whether|where|wherever|whoever|which of)\b", re.IGNORECASE)
METAPHOR = re.compile(r"\b([Tt]old|[Ww]anted|[Nn]obody|is none)\b")


def docstrings() -> Iterator[tuple[str, str]]:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text:
                    yield str(path.relative_to(PACKAGE)), text


def test_docstrings_name_their_subject() -> None:
    first_lines = [(path, text.split("\n")[0]) for path, text in docstrings()]
    assert len(first_lines) > 1000
    assert [(path, line) for path, line in first_lines if WHO_CLAUSE.search(line)] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_words_that_no_reader_searches_for_are_not_used(path: Path) -> None:
    assert METAPHOR.findall(path.read_text()) == []


# The term that somebody searches for, and the module that they have to find: by its name, or by its docstring.
TERMS = {
    "rate limiter": "limits/rate_limiter.py",
    "CORS": "api/middleware/cors.py",
    "CSRF": "api/middleware/cross_site.py",
    "request id": "api/middleware/request_id.py",
    "API keys": "auth/keys.py",
    "JWT": "auth/jwt.py",
    "JWKS": "auth/jwks.py",
    "tickets": "auth/tickets.py",
    "sessions": "auth/sessions.py",
    "connection pool": "store/pools.py",
    "advisory lock": "store/append.py",
    "group commit": "publish/publisher.py",
    "retry": "publish/refusals.py",
    "idempotency": "publish/refusals.py",
    "condition": "domain/condition.py",
    "hash chain": "store/verification/chain.py",
    "envelope encryption": "store/encryption/keys.py",
    "LISTEN/NOTIFY": "follow/notifications.py",
    "fan-out": "follow/fanout.py",
    "query index": "follow/query_index.py",
    "heartbeat": "follow/progress.py",
    "long poll": "follow/pages.py",
    "export": "api/export.py",
    "partitions": "store/partitions.py",
    "fork detection": "follow/fork_detection.py",
    "drain": "domain/drain.py",
    "TLS reload": "server/tls.py",
    "OpenAPI": "api/openapi/document.py",
    "problem details": "api/http/problems.py",
    "CloudEvents": "api/cloudevents.py",
    "admission control": "follow/admission.py",
    "single-flight": "follow/log_state.py",
    "back-pressure": "publish/backlog.py",
    "middleware": "api/middleware/__init__.py",
}


@pytest.mark.parametrize("term", TERMS)
def test_the_field_s_term_leads_to_its_module(term: str) -> None:
    """The module's own docstring has the term, or its path spells it."""
    path = PACKAGE / TERMS[term]
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    spelled = re.sub(r"[^a-z]+", "", term.lower())
    in_path = spelled in re.sub(r"[^a-z]+", "", str(path.relative_to(PACKAGE)))
    assert in_path or term.lower() in docstring.lower().replace("\n", " ")
