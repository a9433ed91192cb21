"""`GET /v1/facts`: what is refused."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest

from tests.conformance.wire import Json, epoch_of, head_cursor, parameters, position_of, problem


async def refused(client: httpx.AsyncClient, status: int, code: str, **given: Any) -> Json:
    return problem(await client.get("/v1/facts", params=given), status, code)


@pytest.mark.case("read-after-unknown-fact")
@pytest.mark.parametrize("parameter", ["after", "until"])
async def test_an_unknown_fact_id_is_not_found(client: httpx.AsyncClient, parameter: str) -> None:
    await refused(client, 404, "fact-not-found", **{parameter: str(uuid.uuid4())})


@pytest.mark.case("read-after-ahead")
async def test_a_cursor_beyond_the_head_is_refused(client: httpx.AsyncClient) -> None:
    head = await head_cursor(client)
    beyond = position_of(head) + 1_000_000
    for after in (str(beyond), f"{epoch_of(head)}:{beyond}"):
        told = await refused(client, 409, "cursor-ahead", after=after)
        assert position_of(head) <= told["head"] < beyond


@pytest.mark.case("read-after-epoch-to-come")
async def test_a_cursor_of_an_unknown_epoch_is_refused(client: httpx.AsyncClient) -> None:
    head = await head_cursor(client)
    await refused(client, 409, "cursor-forked", after=f"{epoch_of(head) + 1}:0")


@pytest.mark.case("read-after-unparsable")
@pytest.mark.parametrize("parameter", ["after", "until"])
@pytest.mark.parametrize(
    "value",
    ["-1", "1:-1", "1.5", "nonsense", "", " 1", "1:", ":1", "1:2:3", "0x10", "1e3", "٣", "1" * 40, "now", "123-456"],
)
async def test_a_cursor_that_cannot_be_parsed_is_refused(client: httpx.AsyncClient, parameter: str, value: str) -> None:
    told = await refused(client, 400, "malformed-parameter", **{parameter: value})
    assert parameters(told) == [parameter]


@pytest.mark.case("read-malformed-number")
@pytest.mark.parametrize("parameter", ["limit", "wait_seconds"])
@pytest.mark.parametrize("value", ["many", "", "1.5.2", "0x1"])
async def test_a_number_that_cannot_be_parsed_is_refused(client: httpx.AsyncClient, parameter: str, value: str) -> None:
    told = await refused(client, 400, "malformed-parameter", **{parameter: value})
    assert parameters(told) == [parameter]


@pytest.mark.case("read-number-out-of-range")
@pytest.mark.parametrize(
    ("parameter", "value"), [("limit", 0), ("limit", -1), ("wait_seconds", -1), ("wait_seconds", 51)]
)
async def test_a_number_out_of_range_is_refused(client: httpx.AsyncClient, parameter: str, value: int) -> None:
    response = await client.get("/v1/facts", params={parameter: value})
    told = problem(response, response.status_code, "invalid-request", "limit-exceeded", "malformed-parameter")
    assert response.status_code in {400, 422}
    assert parameters(told) == [parameter]


@pytest.mark.case("read-unknown-order")
async def test_an_unknown_order_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/facts", params={"order": "sideways"})
    told = problem(response, response.status_code, "invalid-request", "malformed-parameter")
    assert response.status_code in {400, 422}
    assert parameters(told) == ["order"]


@pytest.mark.case("read-unknown-parameter")
@pytest.mark.parametrize("parameter", ["types", "aggregate_ids", "namespaces", "Type", "offset", "x"])
async def test_an_unknown_parameter_is_refused(client: httpx.AsyncClient, parameter: str) -> None:
    told = await refused(client, 422, "unknown-parameter", **{parameter: "OrderPlaced"})
    assert parameters(told) == [parameter]


@pytest.mark.case("read-repeated-single-parameter")
@pytest.mark.parametrize("parameter", ["after", "until", "limit", "order"])
async def test_a_parameter_that_takes_one_value_is_refused_twice(client: httpx.AsyncClient, parameter: str) -> None:
    value = {"limit": "1", "order": "asc"}.get(parameter, "0")
    response = await client.get("/v1/facts", params=[(parameter, value), (parameter, value)])
    assert response.status_code in {400, 422}, response.text


@pytest.mark.case("read-meta-without-colon")
@pytest.mark.parametrize("value", ["tenant", "", ":value"])
async def test_meta_without_key_and_value_is_refused(client: httpx.AsyncClient, value: str) -> None:
    response = await client.get("/v1/facts", params={"meta": value})
    told = problem(response, response.status_code, "invalid-request", "malformed-parameter")
    assert response.status_code in {400, 422}
    assert parameters(told) == ["meta"]


@pytest.mark.case("read-text-that-no-fact-can-have")
@pytest.mark.parametrize(
    ("parameter", "value"), [("aggregate_id", "a\u0000b"), ("meta", "k:a\u0000b"), ("type", "\u0000")]
)
async def test_text_that_no_fact_can_have_never_breaks_a_read(
    client: httpx.AsyncClient, parameter: str, value: str
) -> None:
    response = await client.get("/v1/facts", params={parameter: value})
    assert response.status_code in {200, 400, 422}, response.text


@pytest.mark.case("read-malformed-query")
async def test_a_query_that_is_not_json_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/facts", params={"query": "{"})
    problem(response, 400, "malformed-parameter", "malformed-json")


@pytest.mark.case("read-query-of-unknown-shape")
@pytest.mark.parametrize(
    "query",
    [
        [],
        {"item": []},
        {"items": {}},
        {"items": [{"type": ["A"]}]},
        {"items": [{"types": "A"}]},
        {"items": [{"types": [1]}]},
        {"items": [{"meta": {"k": 1}}]},
        {"items": [], "after": 1},
    ],
    ids=repr,
)
async def test_a_query_of_unknown_shape_is_refused(client: httpx.AsyncClient, query: Any) -> None:
    await refused(client, 422, "invalid-request", query=json.dumps(query))


@pytest.mark.case("read-query-beside-filters")
@pytest.mark.parametrize("beside", [{"namespace": "a"}, {"type": "A"}, {"aggregate_id": "a"}, {"meta": "k:v"}])
async def test_a_query_beside_filters_is_refused(client: httpx.AsyncClient, beside: Json) -> None:
    await refused(client, 422, "invalid-request", query='{"items": []}', **beside)


@pytest.mark.case("read-query-limits")
@pytest.mark.parametrize(
    ("items", "maximum"),
    [([{"types": ["A"]}] * 101, 100), ([{"types": [f"A{n}" for n in range(101)]}], 100)],
    ids=["items", "values"],
)
async def test_a_query_beyond_a_limit_names_it(client: httpx.AsyncClient, items: list[Json], maximum: int) -> None:
    told = await refused(client, 422, "limit-exceeded", query=json.dumps({"items": items}))
    assert told["maximum"] == maximum


@pytest.mark.case("read-not-utf-8")
async def test_a_filter_that_is_no_utf_8_is_refused(client: httpx.AsyncClient) -> None:
    told = problem(await client.get("/v1/facts?aggregate_id=%FF"), 400, "malformed-parameter")
    assert told["errors"][0]["parameter"] == "aggregate_id"


@pytest.mark.case("no-such-path-with-a-slash")
@pytest.mark.parametrize("path", ["/v1/facts/", "/v1/stream/", "/v1/namespaces/"])
async def test_a_path_with_a_slash_too_many_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    problem(await client.get(path), 404, "not-found")
