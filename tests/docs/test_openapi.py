"""The OpenAPI document is current, valid, complete, and what the service does."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, OpenAPIV32SpecValidator, validate

from factwire.settings import Settings
from tests.conftest import StartService
from tests.support.builders import new_fact
from tests.support.service import ROOT, clean_environment

COMMITTED = ROOT / "openapi" / "openapi.json"
WITH_ITEMS = ROOT / "openapi" / "openapi-3.2.json"
SEQUENCES = (
    ("/v1/facts/import", "post", "application/x-ndjson"),
    ("/v1/facts/export", "get", None),
    ("/v1/facts/cloudevents", "get", None),
    ("/v1/stream", "get", None),
    ("/v1/stream", "post", "application/json"),
    ("/v1/stream/cloudevents", "get", None),
)
PROXY_SECONDS = 60  # of nginx (proxy_read_timeout) and of the load balancer of AWS (idle timeout), by default
METHODS = {"get", "post", "put", "patch", "delete"}


def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(COMMITTED.read_text())
    return loaded


def operations() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {path}", operation)
        for path, item in document()["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


@pytest.mark.parametrize(("committed", "options"), [(COMMITTED, ()), (WITH_ITEMS, ("--with-items",))])
def test_the_committed_documents_are_current(committed: Path, options: Sequence[str]) -> None:
    command = [sys.executable, "-m", "factwire", "openapi", *options]
    printed = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=30, check=True
    )
    assert committed.read_text() == printed.stdout, "run make openapi"


def test_the_longest_poll_is_shorter_than_proxies_wait_for_an_answer() -> None:
    read = dict(operations())["get /v1/facts"]
    (documented,) = [each["schema"]["maximum"] for each in read["parameters"] if each["name"] == "wait_seconds"]
    assert documented == Settings.model_fields["wait_seconds_max"].default
    assert documented < PROXY_SECONDS


def test_the_documents_are_valid() -> None:
    with_items = json.loads(WITH_ITEMS.read_text())
    validate(document(), cls=OpenAPIV31SpecValidator)
    validate(with_items, cls=OpenAPIV32SpecValidator)


def test_the_newer_document_adds_what_sequences_consist_of() -> None:
    newer = json.loads(WITH_ITEMS.read_text())
    found = items_of(newer)
    assert {path for path, _ in found} == {
        *("/v1/facts/import", "/v1/facts/export", "/v1/facts/cloudevents", "/v1/stream", "/v1/stream/cloudevents")
    }
    for _, content in found:
        del content["itemSchema"]
    assert newer | {"openapi": "3.1.0"} == document()


async def test_what_is_sent_fits_what_sequences_consist_of(client: httpx.AsyncClient) -> None:
    newer = json.loads(WITH_ITEMS.read_text())
    lines = "".join(json.dumps(new_fact(meta={"a": ["b", "c"]})) + "\n" for _ in range(3))
    checked = 0
    for path, method, body in SEQUENCES:
        described = newer["paths"][path][method]["responses"]["200"]["content"]
        [(media_type, content)] = described.items()
        schema = {**content["itemSchema"], "components": newer["components"]}
        headers = {} if body is None else {"content-type": body}
        text = lines if body == "application/x-ndjson" else "{}" if body else None
        outer = jsonschema.Draft202012Validator(schema)  # made once: there may be thousands of items
        inner = None
        if "contentSchema" in str(schema):
            described_data = schema["properties"]["data"]["contentSchema"]
            inner = jsonschema.Draft202012Validator(described_data | {"components": newer["components"]})
        async with client.stream(method.upper(), path, content=text, headers=headers) as answer:
            assert answer.headers["content-type"].startswith(media_type)
            async for item in items(answer):
                outer.validate(item)
                if inner is not None:
                    inner.validate(json.loads(item["data"]))
                checked += 1
    assert checked > 3 * (len(SEQUENCES) - 1)


def items_of(newer: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What is described as a sequence, with its path."""
    return [
        (path, content)
        for path, item in newer["paths"].items()
        for operation in item.values()
        for part in [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in part.get("content", {}).values()
        if "itemSchema" in content
    ]


async def lines_of(answer: httpx.Response) -> AsyncIterator[str]:
    """Lines end with a line feed alone: httpx takes U+2028 within a payload for an end as well."""
    rest = b""
    async for chunk in answer.aiter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode()


async def items(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """The lines of an answer, or its events up to the one that says that history is over."""
    event: dict[str, Any] = {}
    async for line in lines_of(answer):
        if line.startswith("{"):
            yield json.loads(line)
        elif line.startswith(("id:", "event:", "data:")):
            name, _, value = line.partition(": ")
            event[name] = value
        elif not line and "data" in event:
            yield event
            if event.get("event") == "caught-up":
                return
            event = {}


def test_operation_ids_are_short_and_unique() -> None:
    ids = [operation["operationId"] for _, operation in operations()]
    assert len(ids) == len(set(ids))
    assert max(map(len, ids)) <= 20


@pytest.mark.parametrize(("name", "operation"), operations(), ids=[name for name, _ in operations()])
def test_an_operation_has_examples_that_fit_its_schemas(name: str, operation: dict[str, Any]) -> None:
    bodies = [operation["requestBody"]] if "requestBody" in operation else []
    for part in [*bodies, *operation["responses"].values()]:
        for media_type, content in part.get("content", {}).items():
            if media_type in {"text/event-stream", "text/plain"}:
                continue
            assert "example" in content, name
            schema = {**content["schema"], "components": document()["components"]}
            jsonschema.validate(content["example"], schema, cls=jsonschema.Draft202012Validator)


async def test_the_page_of_the_document_needs_no_internet(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assets = [part.split('"')[0] for part in page.replace("'", '"').split('src="')[1:]]
    assets += [part.split('"')[0] for part in page.split('href="')[1:]]
    assert assets
    for asset in assets:
        assert asset.startswith("/"), asset
        assert (await client.get(asset)).is_success, asset


@pytest.mark.timeout(170)
async def test_no_generated_request_fails_or_gets_an_undocumented_answer(
    start_service: StartService, tmp_path: Path
) -> None:
    """Streams do not end, and schemathesis cannot write NDJSON: other tests ask for those.

    The log is a new one: schemathesis takes values from answers, and cannot encode lone surrogates.
    """
    service = await start_service()
    command = [
        *(str(Path(sys.executable).parent / "schemathesis"), "run", str(COMMITTED), "--url", service.url),
        *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance"),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--request-timeout", "2"),
        *("--exclude-path-regex", "/v1/stream|/v1/facts/import", "--generation-database", "none", "--no-color"),
        *("--workers", "1"),
    ]
    # Found in the working directory: what would wait for a minute by right is not to be taken for a hang.
    (tmp_path / "schemathesis.toml").write_text('[parameters]\n"query.wait_seconds" = 0.5\n')
    environment = os.environ | {"NO_COLOR": "1"}
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=160, check=False
    )
    assert done.returncode == 0, done.stdout[-16000:]
    assert "No issues found" in done.stdout or "passed" in done.stdout


@pytest.mark.parametrize(
    "parameters",
    ["", "?after=zzz", "?after=9:9", "?after=99999999", "?heartbeat=1", "?event=x", "?query={}", "?query=["],
)
async def test_a_stream_answers_only_what_is_documented(client: httpx.AsyncClient, parameters: str) -> None:
    responses = document()["paths"]["/v1/stream"]["get"]["responses"]
    async with client.stream("GET", f"/v1/stream{parameters}") as response:
        documented = responses[str(response.status_code)]["content"]
        assert response.headers["content-type"].partition(";")[0] in documented


def test_no_two_named_enums_have_a_value_in_common() -> None:
    """The generator of clients in Go makes a constant of each value, without the name of its enum."""
    values = [value for schema in document()["components"]["schemas"].values() for value in schema.get("enum", ())]
    assert values
    assert len(values) == len(set(values))


def test_no_schema_is_named_as_the_constructor_of_another() -> None:
    """In Go, the constructor of `Key` is `NewKey`."""
    names = set(document()["components"]["schemas"])
    assert not {f"New{name}" for name in names} & names
