"""`POST /v1/facts/search`: a page for a query that is too large for a URL."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conformance.queries import Query, every_awkward_value, every_query, publish_corpus
from tests.conformance.wire import (
    JSON,
    Json,
    answered,
    fact,
    head_cursor,
    ids_of,
    parameters,
    pointers,
    problem,
    publish,
    publish_many,
)


async def search(client: httpx.AsyncClient, items: list[Json], **given: Any) -> Json:
    return answered(await client.post("/v1/facts/search", params=given, json={"items": items}))


@pytest.mark.case("search-by-query")
@every_query
async def test_a_search_finds_what_its_query_describes(client: httpx.AsyncClient, query: Query) -> None:
    corpus = await publish_corpus(client)
    told = await search(client, corpus.items(query.items), after=corpus.before)
    assert corpus.labels(ids_of(told)) == list(query.matches)
    assert len(told["facts"]) == len(query.matches)


@pytest.mark.case("search-everything")
async def test_a_search_without_items_finds_every_fact(client: httpx.AsyncClient) -> None:
    corpus = await publish_corpus(client)
    told = await search(client, [], after=corpus.before)
    assert corpus.labels(ids_of(told)) == list(corpus.ids)


@pytest.mark.case("search-awkward-values")
@every_awkward_value
async def test_a_search_takes_awkward_values_literally(client: httpx.AsyncClient, namespace: str, value: str) -> None:
    answer = await publish(client, fact(namespace, aggregate_ids=[value], meta={"key": [value, "x"]}), fact(namespace))
    for part in ({"aggregate_ids": [value]}, {"meta": {"key": value}}):
        assert ids_of(await search(client, [{"namespaces": [namespace], **part}])) == ids_of(answer)[:1]


@pytest.mark.case("search-pages")
async def test_a_search_goes_on_from_its_cursor(client: httpx.AsyncClient, namespace: str) -> None:
    ids = await publish_many(client, namespace, 7)
    items = [{"namespaces": [namespace]}]
    told = await search(client, items, limit=3)
    found = ids_of(told)
    while not told["caught_up"]:
        told = await search(client, items, limit=3, after=told["cursor"])
        found += ids_of(told)
    assert found == ids


@pytest.mark.case("search-pages-descending")
async def test_a_descending_search_goes_on_from_its_until(client: httpx.AsyncClient, namespace: str) -> None:
    before = await head_cursor(client)
    ids = await publish_many(client, namespace, 7)
    items = [{"namespaces": [namespace]}]
    told = await search(client, items, limit=3, order="desc", after=before)
    found = ids_of(told)
    while not told["caught_up"]:
        told = await search(client, items, limit=3, order="desc", after=before, until=told["until"])
        found += ids_of(told)
    assert found == ids[::-1]


@pytest.mark.case("search-is-a-read")
async def test_a_search_answers_as_the_same_read_does(client: httpx.AsyncClient, namespace: str) -> None:
    answer = await publish(client, fact(namespace), fact(namespace))
    bounds = {"until": answer["cursor"], "limit": 1}
    found = await search(client, [{"namespaces": [namespace]}], **bounds)
    assert set(found) == set(answered(await client.get("/v1/facts", params={"namespace": namespace, **bounds})))


@pytest.mark.case("search-wrong-shape")
@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ([], ""),
        ({"query": {"items": []}}, "/query"),
        ({"items": {}}, "/items"),
        ({"items": [{"type": ["A"]}]}, "/items/0/type"),
        ({"items": [{}, {"types": "A"}]}, "/items/1/types"),
        ({"items": [{"aggregate_ids": [1]}]}, "/items/0/aggregate_ids/0"),
        ({"items": [{"meta": {"k": []}}]}, "/items/0/meta"),
        ({"items": [{"meta": {"k:x": "v"}}]}, "/items/0/meta"),
    ],
    ids=repr,
)
async def test_a_search_of_another_shape_is_refused(client: httpx.AsyncClient, body: Any, pointer: str) -> None:
    told = problem(await client.post("/v1/facts/search", json=body), 422, "invalid-request")
    assert pointer.startswith(pointers(told)[0]) or pointers(told)[0].startswith(pointer)


@pytest.mark.case("search-malformed-json")
async def test_a_search_that_is_not_json_is_refused(client: httpx.AsyncClient) -> None:
    problem(await client.post("/v1/facts/search", content=b"{", headers=JSON), 400, "malformed-json")


@pytest.mark.case("search-media-type")
async def test_a_search_of_another_media_type_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/facts/search", content=b"{}", headers={"content-type": "text/plain"})
    problem(response, 415, "unsupported-media-type")


@pytest.mark.case("search-unknown-parameter")
@pytest.mark.parametrize("parameter", ["namespace", "query", "offset"])
async def test_a_search_with_an_unknown_parameter_is_refused(client: httpx.AsyncClient, parameter: str) -> None:
    response = await client.post("/v1/facts/search", params={parameter: "x"}, json={"items": []})
    assert parameters(problem(response, 422, "unknown-parameter")) == [parameter]
