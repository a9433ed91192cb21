"""`GET /v1/facts/export`: the whole result as NDJSON."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.conformance.queries import Query, as_parameters, every_query, every_query_of_parameters, publish_corpus
from tests.conformance.wire import Json, fact, parameters, post_facts, problem, publish, publish_many, read


def lines_of(response: httpx.Response) -> list[Json]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/x-ndjson")
    assert response.content == b"" or response.content.endswith(b"\n")
    return [json.loads(line) for line in response.content.split(b"\n")[:-1]]


@pytest.mark.case("export-by-parameters")
@every_query_of_parameters
async def test_an_export_holds_what_its_parameters_describe(client: httpx.AsyncClient, query: Query) -> None:
    corpus = await publish_corpus(client)
    (item,) = corpus.items(query.items)
    exported = lines_of(await client.get("/v1/facts/export", params=as_parameters(item)))
    assert corpus.labels([one["id"] for one in exported]) == list(query.matches)
    assert len(exported) == len(query.matches)


@pytest.mark.case("export-by-query")
@every_query
async def test_an_export_holds_what_its_query_describes(client: httpx.AsyncClient, query: Query) -> None:
    corpus = await publish_corpus(client)
    items = corpus.items(query.items)
    exported = lines_of(await client.get("/v1/facts/export", params={"query": json.dumps({"items": items})}))
    assert corpus.labels([one["id"] for one in exported]) == list(query.matches)


@pytest.mark.case("export-is-whole")
async def test_an_export_is_whole_whatever_its_length(client: httpx.AsyncClient, namespace: str) -> None:
    ids = await publish_many(client, namespace, 3500)
    exported = lines_of(await client.get("/v1/facts/export", params={"namespace": namespace}))
    assert [one["id"] for one in exported] == ids


@pytest.mark.case("export-equals-pages")
async def test_an_export_holds_the_facts_as_pages_do(client: httpx.AsyncClient, namespace: str) -> None:
    await publish(client, fact(namespace, aggregate_ids=["b", "a"], meta={"k": ["y", "x"]}), fact(namespace, version=3))
    exported = lines_of(await client.get("/v1/facts/export", params={"namespace": namespace}))
    assert exported == await read(client, namespace=namespace)


@pytest.mark.case("export-of-nothing")
async def test_an_export_of_nothing_has_no_line(client: httpx.AsyncClient, namespace: str) -> None:
    assert lines_of(await client.get("/v1/facts/export", params={"namespace": namespace})) == []


@pytest.mark.case("export-can-be-imported")
async def test_the_facts_of_an_export_are_known_when_published_again(client: httpx.AsyncClient, namespace: str) -> None:
    await publish_many(client, namespace, 3)
    exported = lines_of(await client.get("/v1/facts/export", params={"namespace": namespace}))
    facts = [{key: one[key] for key in one if key not in {"position", "published_at"}} for one in exported]
    assert (await post_facts(client, *facts)).status_code == 200


@pytest.mark.case("export-unknown-parameter")
@pytest.mark.parametrize("parameter", ["types", "offset"])
async def test_an_export_with_an_unknown_parameter_is_refused(client: httpx.AsyncClient, parameter: str) -> None:
    response = await client.get("/v1/facts/export", params={parameter: "x"})
    assert parameters(problem(response, 422, "unknown-parameter")) == [parameter]
