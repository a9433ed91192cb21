"""What a page of another site cannot do to an open service: neither under a name of its own, nor by forms."""

import json
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conftest import StartService
from tests.e2e.wire import connect
from tests.support.builders import publication
from tests.support.service import ROOT, ServiceProcess

FOREIGN = "https://evil.test"
AN_ID = "0193595a-7c5f-7e1a-8f31-2f6a3c7d9b10"
SAFE = {"get"}
PROBES = ("/livez", "/readyz", "/metrics")


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    document = json.loads((ROOT / "openapi" / "openapi.json").read_text())
    return [
        (method, path.replace("{id}", AN_ID).replace("{", "").replace("}", ""), operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


OPERATIONS = [(method, path) for method, path, _ in operations() if path not in PROBES]
UNSAFE = [(method, path) for method, path in OPERATIONS if method not in SAFE]
WITH_BODY = [(method, path) for method, path, operation in operations() if "requestBody" in operation]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_no_operation_answers_under_a_foreign_name(client: httpx.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, path, headers={"host": "evil.test:8000"})
    assert response.status_code == 421
    assert response.json()["type"] == "urn:factwire:problem:wrong-host"


@pytest.mark.parametrize("path", PROBES)
async def test_probes_answer_under_any_name(client: httpx.AsyncClient, path: str) -> None:
    for host in ("evil.test", "10.1.2.3:8000", "factwire.default.svc"):
        assert (await client.get(path, headers={"host": host})).status_code == 200


async def test_a_request_without_a_host_is_refused(service: ServiceProcess) -> None:
    reader, writer = await connect(service.url)
    writer.write(b"GET /v1/position HTTP/1.0\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 421 ")
    writer.close()


@pytest.mark.parametrize("hosts", ["", "host: localhost\r\nhost: evil.test\r\n", "host: localhost\r\n" * 2])
@pytest.mark.parametrize("path", ["/v1/position", "/livez"])
async def test_a_request_of_http_1_1_names_one_host(service: ServiceProcess, path: str, hosts: str) -> None:
    """RFC 9112, 3.2: a server and a gateway that read two names differently would not speak of the same request."""
    reader, writer = await connect(service.url)
    writer.write(f"GET {path} HTTP/1.1\r\n{hosts}connection: close\r\n\r\n".encode())
    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_a_publish_that_arrives_whole_is_asked_for_its_host_too(client: httpx.AsyncClient) -> None:
    before = (await client.get("/v1/position")).json()["head"]
    response = await client.post("/v1/facts", json=publication(), headers={"host": "evil.test"})
    assert response.status_code == 421
    assert (await client.get("/v1/position")).json()["head"] == before


@pytest.mark.parametrize(("method", "path"), UNSAFE)
@pytest.mark.parametrize(
    "sent",
    [
        {"sec-fetch-site": "cross-site", "origin": FOREIGN},
        {"sec-fetch-site": "cross-site"},
        {"origin": FOREIGN},
        {"origin": "null"},
    ],
)
async def test_no_operation_that_changes_something_obeys_a_page_of_another_site(
    client: httpx.AsyncClient, method: str, path: str, sent: dict[str, str]
) -> None:
    response = await client.request(method, path, headers=sent)
    assert response.status_code == 403
    assert response.json()["type"] == "urn:factwire:problem:cross-origin"


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_no_operation_takes_a_body_that_a_form_could_send(
    client: httpx.AsyncClient, method: str, path: str, media_type: str
) -> None:
    content = json.dumps(publication()).encode()
    response = await client.request(method, path, content=content, headers={"content-type": media_type})
    assert response.status_code == 415, response.text


@pytest.mark.parametrize("site", ["same-origin", "same-site", "none"])
async def test_a_page_of_this_service_and_programs_may_publish(client: httpx.AsyncClient, site: str) -> None:
    address = urlsplit(str(client.base_url))
    origin = f"{address.scheme}://{address.netloc}"
    for sent in ({"sec-fetch-site": site, "origin": origin}, {"origin": origin}, {}):
        response = await client.post("/v1/facts", json=publication(), headers=sent)
        assert response.status_code == 201, response.text


async def test_an_origin_that_is_allowed_may_publish_from_another_site(start_service: StartService) -> None:
    service = await start_service(cors_origins="https://app.example")
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        for origin, status in (("https://app.example", 201), (FOREIGN, 403)):
            headers = {"sec-fetch-site": "cross-site", "origin": origin}
            response = await client.post("/v1/facts", json=publication(), headers=headers)
            assert response.status_code == status, response.text


async def test_named_hosts_are_answered_and_with_keys_any_host_is(start_service: StartService) -> None:
    named = await start_service(allowed_hosts="facts.internal, *.example.com", auth="none")
    keyed = await start_service(auth="keys")
    for service, host, status in (
        (named, "facts.internal", 200),
        (named, "a.example.com:80", 200),
        (named, "example.com", 421),
        (keyed, "any.test", 401),
    ):
        async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
            assert (await client.get("/v1/position", headers={"host": host})).status_code == status
