"""`Idempotency-Key`: a publish without ids that may be repeated."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import httpx
import pytest

from tests.conformance.wire import Json, answered, fact, ids_of, pointers, problem, read, unique


async def post(client: httpx.AsyncClient, key: str, *facts: Json, **members: Any) -> httpx.Response:
    return await client.post("/v1/facts", json={"facts": facts, **members}, headers={"idempotency-key": key})


@pytest.mark.case("idempotency-key")
async def test_a_key_makes_a_publish_without_ids_repeatable(client: httpx.AsyncClient, namespace: str) -> None:
    key, facts = unique("key"), [fact(namespace, payload=number) for number in range(3)]
    first = answered(await post(client, key, *facts), 201)
    again = answered(await post(client, f'"{key}"', *facts), 200)
    assert again["facts"] == first["facts"]
    assert {uuid.UUID(id).version for id in ids_of(first)} == {8}
    assert len(await read(client, namespace=namespace)) == 3
    other = answered(await post(client, unique("key"), *facts), 201)
    assert not set(ids_of(other)) & set(ids_of(first))


@pytest.mark.case("idempotency-key-beside-itself")
async def test_of_equal_requests_at_once_one_publishes(client: httpx.AsyncClient, namespace: str) -> None:
    key, facts = unique("key"), [fact(namespace), fact(namespace)]
    answers = await asyncio.gather(*(post(client, key, *facts) for _ in range(8)))
    assert sorted(each.status_code for each in answers) == [200] * 7 + [201]
    assert len({json.dumps(each.json()["facts"]) for each in answers}) == 1
    assert len(await read(client, namespace=namespace)) == 2


@pytest.mark.case("idempotency-key-of-another-body")
@pytest.mark.parametrize(
    ("before", "after"), [([1], [2]), ([1], [1, 2]), ([1, 2], [1]), ([1, 2, 3], [1, 2]), ([1, 2], [2, 1])]
)
async def test_a_key_of_another_body_is_a_conflict(
    client: httpx.AsyncClient, namespace: str, before: list[int], after: list[int]
) -> None:
    key = unique("key")
    answered(await post(client, key, *(fact(namespace, payload=number) for number in before)), 201)
    answer = await post(client, key, *(fact(namespace, payload=number) for number in after))
    problem(answer, 409, "fact-id-conflict")
    assert [each["payload"] for each in await read(client, namespace=namespace)] == before


@pytest.mark.case("idempotency-key-does-not-compare-conditions")
async def test_a_retry_with_a_key_may_have_another_condition(client: httpx.AsyncClient, namespace: str) -> None:
    key, one = unique("key"), fact(namespace, aggregate_ids=["order-1"])
    condition = {"fail_if_match": [{"namespaces": [namespace], "aggregate_ids": ["order-1"]}]}
    answered(await post(client, key, one, condition=condition), 201)
    answered(await post(client, key, one, condition=condition), 200)
    answered(await post(client, key, one), 200)


@pytest.mark.case("idempotency-key-beside-an-id")
async def test_an_id_beside_a_key_is_refused(client: httpx.AsyncClient, namespace: str) -> None:
    answer = await post(client, unique("key"), fact(namespace), fact(namespace, id=str(uuid.uuid4())))
    assert pointers(problem(answer, 422, "invalid-request")) == ["/facts/1/id"]
    answered(await post(client, unique("key"), fact(namespace, id=None)), 201)


@pytest.mark.case("idempotency-key-malformed")
@pytest.mark.parametrize("key", ["", '""', "a b", "a" * 256, '"a', '"a"b"', "é".encode().decode("latin-1")])
async def test_a_key_that_is_none_is_refused(client: httpx.AsyncClient, namespace: str, key: str) -> None:
    body = json.dumps({"facts": [fact(namespace)]})
    headers = [(b"idempotency-key", key.encode("latin-1")), (b"content-type", b"application/json")]
    problem(await client.post("/v1/facts", content=body, headers=headers), 400, "malformed-parameter")
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("idempotency-key-where-it-has-no-effect")
async def test_a_key_is_refused_where_facts_have_ids_of_their_own(client: httpx.AsyncClient, namespace: str) -> None:
    line = json.dumps(fact(namespace))
    event = json.dumps({"specversion": "1.0", "id": "1", "source": "/s", "type": "T", "namespace": namespace})
    for path, content, media_type in (
        ("/v1/facts/import", line, "application/x-ndjson"),
        ("/v1/facts/cloudevents", event, "application/cloudevents+json"),
    ):
        headers = {"content-type": media_type, "idempotency-key": unique("key")}
        problem(await client.post(path, content=content, headers=headers), 422, "invalid-request")
    assert await read(client, namespace=namespace) == []
