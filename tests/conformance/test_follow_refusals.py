"""`GET` and `POST /v1/stream`: what is refused, before the first byte."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from tests.conformance.wire import JSON, Json, epoch_of, head_cursor, parameters, pointers, position_of, problem


async def refused(client: httpx.AsyncClient, status: int, *codes: str, method: str = "GET", **request: Any) -> Json:
    """The problem; the body is read only if the answer is none of a stream, which would not end."""
    async with client.stream(method, "/v1/stream", **request) as response:
        assert response.status_code == status, response.headers
        await response.aread()
        return problem(response, status, *codes)


@pytest.mark.case("follow-after-unknown-fact")
async def test_an_unknown_fact_id_is_not_found(client: httpx.AsyncClient) -> None:
    await refused(client, 404, "fact-not-found", params={"after": str(uuid.uuid4())})
    await refused(client, 404, "fact-not-found", headers={"last-event-id": str(uuid.uuid4())})


@pytest.mark.case("follow-after-ahead")
async def test_a_cursor_beyond_the_head_is_refused(client: httpx.AsyncClient) -> None:
    head = await head_cursor(client)
    beyond = f"{epoch_of(head)}:{position_of(head) + 1_000_000}"
    assert (await refused(client, 409, "cursor-ahead", params={"after": beyond}))["head"] >= position_of(head)
    await refused(client, 409, "cursor-ahead", headers={"last-event-id": beyond})
    await refused(client, 409, "cursor-ahead", params={"after": "start"}, headers={"last-event-id": beyond})


@pytest.mark.case("follow-after-epoch-to-come")
async def test_a_cursor_of_an_unknown_epoch_is_refused(client: httpx.AsyncClient) -> None:
    unknown = f"{epoch_of(await head_cursor(client)) + 1}:0"
    await refused(client, 409, "cursor-forked", params={"after": unknown})
    await refused(client, 409, "cursor-forked", headers={"last-event-id": unknown})


@pytest.mark.case("follow-after-unparsable")
@pytest.mark.parametrize("value", ["-1", "1:-1", "nonsense", "1:", ":1", "1:2:3", "1.5", "1" * 40])
async def test_a_cursor_that_cannot_be_parsed_is_refused(client: httpx.AsyncClient, value: str) -> None:
    told = await refused(client, 400, "malformed-parameter", params={"after": value})
    assert parameters(told) == ["after"]
    await refused(client, 400, "malformed-parameter", headers={"last-event-id": value})


@pytest.mark.case("follow-unknown-parameter")
@pytest.mark.parametrize("parameter", ["types", "until", "limit", "order", "wait_seconds", "x"])
async def test_an_unknown_parameter_is_refused(client: httpx.AsyncClient, parameter: str) -> None:
    told = await refused(client, 422, "unknown-parameter", params={parameter: "1"})
    assert parameters(told) == [parameter]


@pytest.mark.case("follow-heartbeat-out-of-range")
@pytest.mark.parametrize("value", ["2", "61", "0", "-1", "often", "1e1"])
async def test_a_heartbeat_out_of_range_is_refused(client: httpx.AsyncClient, value: str) -> None:
    async with client.stream("GET", "/v1/stream", params={"heartbeat": value}) as response:
        assert response.status_code in {400, 422}
        await response.aread()
    told = problem(response, response.status_code, "malformed-parameter", "invalid-request", "limit-exceeded")
    assert parameters(told) == ["heartbeat"]


@pytest.mark.case("follow-unknown-event-naming")
async def test_an_unknown_naming_of_events_is_refused(client: httpx.AsyncClient) -> None:
    async with client.stream("GET", "/v1/stream", params={"event": "namespace"}) as response:
        assert response.status_code in {400, 422}
        await response.aread()
    told = problem(response, response.status_code, "malformed-parameter", "invalid-request")
    assert parameters(told) == ["event"]


@pytest.mark.case("follow-bad-query")
async def test_a_bad_query_is_refused(client: httpx.AsyncClient) -> None:
    await refused(client, 400, "malformed-parameter", "malformed-json", params={"query": "["})
    await refused(client, 422, "invalid-request", params={"query": '{"items": [{"type": ["A"]}]}'})
    await refused(client, 422, "invalid-request", params={"query": '{"items": []}', "namespace": "a"})
    await refused(client, 400, "malformed-parameter", params={"meta": "tenant"})


@pytest.mark.case("follow-post-bad-body")
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed-json"),
        (b"[]", 422, "invalid-request"),
        (b'{"items": [{"type": ["A"]}]}', 422, "invalid-request"),
        (b'{"items": [], "after": 1}', 422, "invalid-request"),
        (b'{"items": [%b]}' % b",".join([b'{"types": ["A"]}'] * 101), 422, "limit-exceeded"),
    ],
    ids=["cut", "array", "unknown-part", "unknown-member", "many-items"],
)
async def test_a_bad_posted_query_is_refused(client: httpx.AsyncClient, body: bytes, status: int, code: str) -> None:
    told = await refused(client, status, code, method="POST", content=body, headers=JSON)
    assert status == 400 or len(pointers(told)) == 1


@pytest.mark.case("follow-post-media-type")
async def test_a_posted_query_of_another_media_type_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "text/plain"}
    await refused(client, 415, "unsupported-media-type", method="POST", content=b'{"items": []}', headers=headers)


@pytest.mark.case("follow-post-refusals")
async def test_a_posted_stream_refuses_cursors_as_others_do(client: httpx.AsyncClient) -> None:
    body: Json = {"items": []}
    head = await head_cursor(client)
    beyond = f"{epoch_of(head)}:{position_of(head) + 1_000_000}"
    await refused(client, 409, "cursor-ahead", method="POST", json=body, params={"after": beyond})
    await refused(client, 404, "fact-not-found", method="POST", json=body, params={"after": str(uuid.uuid4())})
    await refused(client, 400, "malformed-parameter", method="POST", json=body, params={"after": "-1"})
    await refused(client, 422, "unknown-parameter", method="POST", json=body, params={"namespace": "a"})
