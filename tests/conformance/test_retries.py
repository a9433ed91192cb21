"""Each way to publish, sent three times: the first request writes, and both retries get its answer."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

import httpx
import pytest

from tests.conformance.wire import JSON, Json, answered, fact, identified, problem, publish, read, unique

EVENTS = "/v1/facts/cloudevents"


def event(namespace: str, id: str, **members: object) -> Json:
    return {"specversion": "1.0", "id": id, "source": "/s", "type": "Noted", "namespace": namespace, **members}


def body_of(*facts: Json, **condition: list[Json]) -> bytes:
    return json.dumps({"facts": facts, **({"condition": condition} if condition else {})}).encode()


def requests_of(namespace: str, known: str) -> Mapping[str, tuple[str, bytes, dict[str, str]]]:
    """Each way to publish by its name: path, body and headers. A fact about the aggregate `known` is stored."""
    new = unique("order")
    none = {"fail_if_match": [{"aggregate_ids": [new]}]}
    there = {"fail_unless_match": [{"aggregate_ids": [known]}, {"namespaces": [namespace], "aggregate_ids": [known]}]}
    binary = {f"ce-{name}": str(value) for name, value in event(namespace, unique("e")).items()}
    two = [event(namespace, unique("e"), data=number) for number in range(2)]
    structured, batch = ({"content-type": f"application/cloudevents{form}+json"} for form in ("", "-batch"))
    return {
        "ids": ("/v1/facts", body_of(identified(namespace), identified(namespace)), JSON),
        "on a condition that it breaks itself": (
            *("/v1/facts", body_of(identified(namespace, aggregate_ids=[new]), **none), JSON),
        ),
        "on existence": ("/v1/facts", body_of(identified(namespace, aggregate_ids=[known]), **there), JSON),
        "idempotency key": (
            *("/v1/facts", body_of(fact(namespace), fact(namespace)), {**JSON, "idempotency-key": unique("key")}),
        ),
        "event": (EVENTS, json.dumps(event(namespace, str(uuid.uuid4()))).encode(), structured),
        "event by source and id": (EVENTS, json.dumps(event(namespace, unique("e"), data=1)).encode(), structured),
        "batch of events": (EVENTS, json.dumps(two).encode(), batch),
        "binary event": (EVENTS, b'{"a": 1}', {**binary, "content-type": "application/json"}),
    }


NAMES = tuple(requests_of("", ""))


@pytest.mark.case("retries-twice")
@pytest.mark.parametrize("name", NAMES)
async def test_two_retries_get_the_answer_of_the_first(client: httpx.AsyncClient, namespace: str, name: str) -> None:
    known = unique("customer")
    await publish(client, fact(namespace, aggregate_ids=[known]))
    path, content, headers = requests_of(namespace, known)[name]
    answers = [await client.post(path, content=content, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    first, *retries = (answer.json() for answer in answers)
    assert retries == [first, first]
    assert len(await read(client, namespace=namespace)) == 1 + len(first["facts"])


@pytest.mark.case("retries-of-an-import")
async def test_two_retries_of_an_import_write_nothing(client: httpx.AsyncClient, namespace: str) -> None:
    lines = "".join(json.dumps(identified(namespace)) + "\n" for _ in range(3))
    told = []
    for _ in range(3):
        answer = await client.post("/v1/facts/import", content=lines, headers={"content-type": "application/x-ndjson"})
        told.append(json.loads(answer.text.splitlines()[-1])["result"])
    assert [(each["published"], each["replayed"]) for each in told] == [(3, 0), (0, 3), (0, 3)]
    assert len(await read(client, namespace=namespace)) == 3


@pytest.mark.case("retries-of-a-refusal")
async def test_a_refusal_is_repeated_and_writes_nothing(client: httpx.AsyncClient, namespace: str) -> None:
    order = unique("order")
    first = await publish(client, fact(namespace, aggregate_ids=[order]))
    content = body_of(identified(namespace), fail_if_match=[{"aggregate_ids": [order]}])
    for _ in range(3):
        told = problem(await client.post("/v1/facts", content=content, headers=JSON), 409, "condition-failed")
        assert (told["item"], told["id"]) == ("/fail_if_match/0", first["facts"][0]["id"])
    assert len(await read(client, namespace=namespace)) == 1


@pytest.mark.case("retries-whatever-the-condition")
async def test_a_retry_is_one_whatever_condition_it_has(client: httpx.AsyncClient, namespace: str) -> None:
    given = identified(namespace, aggregate_ids=[unique("order")])
    first = await publish(client, given)
    never: Json = {"aggregate_ids": [unique("nobody")]}
    for condition in ({"fail_if_match": [{"aggregate_ids": given["aggregate_ids"]}]}, {"fail_unless_match": [never]}):
        answer = await client.post("/v1/facts", content=body_of(given, **condition), headers=JSON)
        assert answered(answer, 200)["facts"] == first["facts"]
