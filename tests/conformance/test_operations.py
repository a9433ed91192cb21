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
    ("get", "/v1/types"),
    ("get", "/v1/stream"),
    ("post", "/v1/stream"),
    ("post", "/v1/facts/cloudevents"),
    ("get", "/v1/facts/cloudevents"),
    ("get", "/v1/stream/cloudevents"),
    ("get", "/v1/activity"),
    ("get", "/v1/streams"),
    ("get", "/v1"),
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
@pytest.mark.parametrize(
    "path", ["/v1/", "/v1/nothing", "/problems/nothing", "/v2/facts", "/v1/facts/a/b/c", "/v1/namespaces/a", "/nothing"]
)
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
        ("GET", "/v1/facts/search", {"POST"}),
        ("GET", "/v1/facts/import", {"POST"}),
    ],
)
async def test_another_method_is_a_problem_that_says_which_are_allowed(
    client: httpx.AsyncClient, method: str, path: str, allowed: set[str]
) -> None:
    response = await client.request(method, path)
    problem(response, 405, "method-not-allowed")
    told = {name.strip() for name in response.headers["allow"].split(",")}
    assert told - {"HEAD", "OPTIONS"} == allowed


@pytest.mark.case("head")
@pytest.mark.parametrize(
    "path", ["/v1/facts", "/v1/facts/at/1", "/v1/position", "/v1/namespaces", "/livez", "/readyz", "/metrics", "/docs"]
)
async def test_head_is_answered_like_get_without_the_body(client: httpx.AsyncClient, namespace: str, path: str) -> None:
    await publish(client, fact(namespace))
    got, headed = await client.get(path), await client.head(path)
    assert (headed.status_code, headed.content) == (got.status_code, b"")
    for name in ("content-type", "cache-control"):
        assert headed.headers.get(name) == got.headers.get(name)
    assert (await client.get(path)).status_code == 200, "the connection is still in order"


@pytest.mark.case("head-of-an-error")
async def test_head_of_what_does_not_exist_has_the_status_of_get(client: httpx.AsyncClient) -> None:
    for path in ("/v1/facts/at/999999999999", "/v1/nothing", "/v1/facts?limit=0"):
        got, headed = await client.get(path), await client.head(path)
        assert (headed.status_code, headed.content) == (got.status_code, b"")
        assert got.status_code >= 400


@pytest.mark.case("head-of-a-stream")
@pytest.mark.parametrize("path", ["/v1/stream", "/v1/stream/cloudevents", "/v1/facts/export", "/v1/facts/cloudevents"])
async def test_a_body_without_an_end_has_no_head(client: httpx.AsyncClient, path: str) -> None:
    response = await client.head(path)
    assert response.status_code == 405
    assert "HEAD" not in response.headers["allow"]


@pytest.mark.case("index")
async def test_the_index_lists_every_operation_of_the_document(client: httpx.AsyncClient) -> None:
    index, document = answered(await client.get("/v1")), answered(await client.get("/openapi.json"))
    listed = {(each["method"].lower(), each["path"]) for each in index["operations"]}
    assert listed == {(method, path) for path, item in document["paths"].items() for method in item}
    assert (await client.get(index["documentation"])).status_code == 200
    assert (await client.get(index["openapi"])).status_code == 200


@pytest.mark.case("help")
async def test_each_problem_leads_to_its_explanation(client: httpx.AsyncClient) -> None:
    told = problem(await client.get("/v1/facts", params={"typ": "A"}), 422, "unknown-parameter")
    assert "Did you mean type?" in told["detail"]
    explained = await client.get(told["help"])
    assert explained.status_code == 200
    assert explained.headers["content-type"].startswith("text/plain")
    assert "query parameter" in explained.text
