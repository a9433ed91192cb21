"""Write what is generated in the clients: models, errors by problem code, and the blocking half of the Python client.

Models come from openapi/openapi.json, errors from docs/problems.md, and `_sync` from `_async` by unasync.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import unasync

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / "clients" / "python" / "factwire_client"
TYPESCRIPT = ROOT / "clients" / "typescript"
MODELS = (
    "Fact",
    "NewFactBody",
    "ConditionItemBody",
    "PublishResult",
    "PublishedFact",
    "Page",
    "LogPosition",
    "SubscriptionBody",
    "QueryBody",
    "QueryItemBody",
    "BackoffBody",
    "MetaValue",
    "Bound",
)
# The service checks these, and says more about it than a type can.
CHECKS = {"pattern", "format", "examples", "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum"}
CHECKS |= {"minProperties", "maxProperties", "propertyNames"}
GENERATE = (
    *(
        "--input-file-type",
        "openapi",
        "--output-model-type",
        "dataclasses.dataclass",
        "--target-python-version",
        "3.10",
    ),
    *("--use-schema-description", "--use-field-description", "--collapse-root-models", "--frozen-dataclasses"),
    *("--no-use-union-operator", "--disable-timestamp", "--formatters", "builtin", "--enum-field-as-literal", "all"),
    *("--custom-file-header", '"""Models of the OpenAPI document, written by clients/generate.py."""'),
)
BLOCKING = {
    "AsyncFactwire": "Factwire",
    "AsyncPsycopgView": "PsycopgView",
    "AsyncView": "View",
    "AsyncRequests": "Requests",
    "AsyncWorker": "Worker",
    "async_kept": "kept",
    "async_at_last": "at_last",
    "AsyncClient": "Client",
    "AsyncContextManager": "ContextManager",
    "aclosing": "closing",
    "aclose": "close",
    "anyio": "time",
    "aiter_bytes": "iter_bytes",
    "aread": "read",
    "asynccontextmanager": "contextmanager",
}
HEADING = re.compile(r"^## ([a-z-]+)\n\n(\d{3})\. (.+?\.)(?=\s)", re.MULTILINE | re.DOTALL)


def main() -> None:
    write_models()
    write_errors()
    write_blocking()
    ruff = Path(sys.executable).with_name("ruff")
    generated = [PYTHON / "models.py", PYTHON / "problems.py", PYTHON / "_sync"]
    subprocess.run([ruff, "check", "--quiet", "--fix-only", *generated], check=True)
    subprocess.run([ruff, "format", "--quiet", *generated], check=True)


def write_models() -> None:
    document = json.loads((ROOT / "openapi" / "openapi.json").read_text())
    schemas = {name: unchecked(document["components"]["schemas"][name]) for name in MODELS}
    part = {"openapi": document["openapi"], "info": document["info"], "paths": {}, "components": {"schemas": schemas}}
    with TemporaryDirectory() as directory:
        path = Path(directory) / "openapi.json"
        path.write_text(json.dumps(part))
        generator = Path(sys.executable).with_name("datamodel-codegen")
        command: list[str | Path] = [generator, "--input", path, *GENERATE, "--output", PYTHON / "models.py"]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        typescript: list[str | Path] = [
            "npx",
            "--no-install",
            "openapi-typescript",
            path,
            "--output",
            TYPESCRIPT / "src" / "models.ts",
        ]
        subprocess.run(typescript, check=True, cwd=TYPESCRIPT, stdout=subprocess.DEVNULL)


def unchecked(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {name: unchecked(value) for name, value in schema.items() if name not in CHECKS}
    return [unchecked(each) for each in schema] if isinstance(schema, list) else schema


def write_errors() -> None:
    found = sorted(HEADING.findall((ROOT / "docs" / "problems.md").read_text()))
    lines = ['"""Refusals by problem code, written by clients/generate.py from docs/problems.md."""', ""]
    lines += ["from __future__ import annotations", "", "from .errors import Problem", ""]
    for code, status, text in found:
        said = " ".join(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).split())
        lines += ["", f"class {name_of(code)}(Problem):", f'    """{status}. {said}"""', "", f'    code = "{code}"', ""]
    lines += ["", "BY_CODE: dict[str, type[Problem]] = {"]
    lines += [*(f'    "{code}": {name_of(code)},' for code, _, _ in found), "}", ""]
    (PYTHON / "problems.py").write_text("\n".join(lines))
    lines = ["// Refusals by problem code, written by clients/generate.py from docs/problems.md.", ""]
    lines += ['import { Problem } from "./errors.js";', ""]
    lines += [f"export class {name_of(code)} extends Problem {{}}" for code, _, _ in found]
    lines += ["", "export const byCode = new Map<string, typeof Problem>(["]
    lines += [*(f'  ["{code}", {name_of(code)}],' for code, _, _ in found), "]);", ""]
    (TYPESCRIPT / "src" / "problems.ts").write_text("\n".join(lines))


def name_of(code: str) -> str:
    return "".join(map(str.capitalize, code.split("-")))


def write_blocking() -> None:
    """`_sync` is `_async` without tasks, token by token."""
    source, target = PYTHON / "_async", PYTHON / "_sync"
    rule = unasync.Rule(f"{source}/", f"{target}/", additional_replacements=BLOCKING)
    unasync.unasync_files([str(path) for path in sorted(source.glob("*.py"))], [rule])
    for path in sorted(target.glob("*.py")):
        text = path.read_text().replace("Awaitable[str]", "str").replace("Awaitable[None]", "None")
        path.write_text(re.sub(r"Awaitable, |, Awaitable", "", text))


if __name__ == "__main__":
    main()
