"""What is not about facts: health, metrics, the OpenAPI document, and paths that do not exist."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.conformance.wire import Json, answered, fact, problem, publish

OPERATIONS = {
    ("post", "/v1/facts"),
    ("get", "/v1/facts"),
    ("post", "/v1/facts/import"),
    ("post", "/v1/facts/search"),
    ("get", "/v1/facts/export"),
    ("get", "/v1/facts/{}"),
    ("get", "/v1/facts/at/{}"),
    ("get", "/v1/position"),
    ("get", "/v1/namespaces"),
    ("get", "/v1/namespaces/{}/types"),
    ("get", "/v1/namespaces/{}/types/{}"),
    ("get", "/v1/stream"),
    ("post", "/v1/stream"),
    ("post", "/v1/facts/cloudevents"),
    ("get", "/v1/facts/cloudevents"),
    ("get", "/v1/stream/cloudevents"),
    ("get", "/v1/activity"),
    ("get", "/v1/streams"),
}


@pytest.mark.case("livez")
async def test_a_living_service_says_so(client: httpx.AsyncClient) -> None:
    assert (await client.get("/livez")).status_code == 200


@pytest.mark.case("readyz")
async def test_a_ready_service_says_so(client: httpx.AsyncClient) -> None:
    told = answered(await client.get("/readyz"))
    assert (told["ready"], told["draining"]) == (True, False)
    assert {"schema", "database"} <= set(told)


@pytest.mark.case("metrics")
async def test_metrics_are_told_as_prometheus_reads_them(client: httpx.AsyncClient, namespace: str) -> None:
    await publish(client, fact(namespace))
    response = await client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    sample = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(\{.*\})? [-+0-9.eEInfNa]+( \d+)?")
    lines = [line for line in response.text.splitlines() if line and not line.startswith("#")]
    assert any(line.startswith("factwire_") for line in lines)
    assert all(sample.fullmatch(line) for line in lines)


@pytest.mark.case("openapi")
async def test_the_openapi_document_describes_every_operation_by_a_name(client: httpx.AsyncClient) -> None:
    document = answered(await client.get("/openapi.json"))
    described: dict[tuple[str, str], Json] = {
        (method, re.sub(r"\{[^}]*\}", "{}", path)): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert document["openapi"].startswith("3.1")
    assert set(described) >= OPERATIONS
    names = [operation["operationId"] for operation in described.values()]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) for name in names)


@pytest.mark.case("docs")
async def test_the_documentation_needs_no_other_site(client: httpx.AsyncClient) -> None:
    response = await client.get("/docs")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)["']""", response.text)
    assert loaded
    for address in loaded:
        assert not re.match(r"(?:[a-z]+:)?//", address), address
        assert (await client.get(address)).status_code == 200


@pytest.mark.case("unknown-path")
@pytest.mark.parametrize("path", ["/v1", "/v1/nothing", "/v2/facts", "/v1/facts/a/b/c", "/v1/namespaces/a", "/nothing"])
async def test_an_unknown_path_is_a_problem(client: httpx.AsyncClient, path: str) -> None:
    problem(await client.get(path), 404, "not-found")


@pytest.mark.case("other-method")
@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/facts", {"GET", "POST"}),
        ("PUT", "/v1/facts", {"GET", "POST"}),
        ("POST", "/v1/facts/export", {"GET"}),
        ("DELETE", "/v1/facts/at/1", {"GET"}),
        ("DELETE", "/v1/stream", {"GET", "POST"}),
        ("POST", "/v1/position", {"GET"}),
        ("POST", "/v1/namespaces", {"GET"}),
        ("POST", "/readyz", {"GET"}),
    ],
)
async def test_another_method_is_a_problem_that_says_which_are_allowed(
    client: httpx.AsyncClient, method: str, path: str, allowed: set[str]
) -> None:
    response = await client.request(method, path)
    problem(response, 405, "method-not-allowed")
    told = {name.strip() for name in response.headers["allow"].split(",")}
    assert told - {"HEAD", "OPTIONS"} == allowed
