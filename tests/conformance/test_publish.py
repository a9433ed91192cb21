"""`POST /v1/facts`: what is published, what it answers, and what a retry does."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from typing import Any

import httpx
import pytest

from tests.conformance.wire import (
    Json,
    answered,
    epoch_of,
    fact,
    head_cursor,
    identified,
    ids_of,
    page,
    position_of,
    positions_of,
    post_facts,
    problem,
    publish,
    read,
)

UTC_MICROSECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.mark.case("publish-answer")
async def test_the_answer_names_ids_positions_and_the_cursor(client: httpx.AsyncClient, namespace: str) -> None:
    answer = await publish(client, fact(namespace), fact(namespace))
    assert [set(one) for one in answer["facts"]] == [{"id", "position"}] * 2
    assert answer["position"] == positions_of(answer)[-1] == position_of(answer["cursor"])
    assert epoch_of(answer["cursor"]) == epoch_of(await head_cursor(client))
    assert UTC_MICROSECONDS.fullmatch(answer["published_at"])


@pytest.mark.case("publish-answer-may-be-read-at-once")
async def test_a_published_fact_can_be_read_at_once(client: httpx.AsyncClient, namespace: str) -> None:
    for _ in range(20):
        answer = await publish(client, fact(namespace))
        assert answered(await client.get(f"/v1/facts/{ids_of(answer)[0]}"))["position"] == answer["position"]


@pytest.mark.case("publish-defaults")
async def test_a_fact_needs_only_namespace_type_and_payload(client: httpx.AsyncClient, namespace: str) -> None:
    answer = await publish(client, {"namespace": namespace, "type": "Noted", "payload": None})
    (stored,) = await read(client, namespace=namespace)
    assert stored == {
        "position": answer["position"],
        "published_at": answer["published_at"],
        "id": ids_of(answer)[0],
        "namespace": namespace,
        "type": "Noted",
        "version": 1,
        "aggregate_ids": [],
        "meta": {},
        "payload": None,
    }


@pytest.mark.case("publish-default-id-is-uuid-7")
async def test_the_store_makes_a_time_ordered_id(client: httpx.AsyncClient, namespace: str) -> None:
    answer = await publish(client, fact(namespace))
    assert uuid.UUID(ids_of(answer)[0]).version == 7


@pytest.mark.case("publish-id-is-lower-case")
async def test_an_id_comes_back_in_lower_case(client: httpx.AsyncClient, namespace: str) -> None:
    id_ = str(uuid.uuid4())
    answer = await publish(client, fact(namespace, id=id_.upper()))
    assert ids_of(answer) == [id_]
    assert [one["id"] for one in await read(client, namespace=namespace)] == [id_]


@pytest.mark.case("publish-whole-fact")
async def test_a_fact_comes_back_with_all_that_was_sent(client: httpx.AsyncClient, namespace: str) -> None:
    sent = identified(
        namespace,
        "Order.Placed_v1:x-y",
        version=7,
        aggregate_ids=["case-1", "order 2"],
        meta={"label": ["x", "y"], "tenant": "a"},
        payload={"amount": "20000"},
    )
    answer = await publish(client, sent)
    (stored,) = await read(client, namespace=namespace)
    assert stored == {**sent, "position": answer["position"], "published_at": answer["published_at"]}


@pytest.mark.case("publish-aggregate-ids-are-a-set")
async def test_aggregate_ids_come_back_sorted_and_unique(client: httpx.AsyncClient, namespace: str) -> None:
    await publish(client, fact(namespace, aggregate_ids=["b", "a", "Z", "é", "b"]))
    (stored,) = await read(client, namespace=namespace)
    assert stored["aggregate_ids"] == ["Z", "a", "b", "é"]


@pytest.mark.case("publish-meta-is-canonical")
async def test_meta_comes_back_in_one_form(client: httpx.AsyncClient, namespace: str) -> None:
    await publish(client, fact(namespace, meta={"z": ["y", "x", "y"], "b": ["only"], "a": "1", "B": "2"}))
    (stored,) = await read(client, namespace=namespace)
    assert list(stored["meta"].items()) == [("B", "2"), ("a", "1"), ("b", "only"), ("z", ["x", "y"])]


@pytest.mark.case("publish-batch-is-consecutive")
async def test_the_facts_of_a_batch_are_neighbours_under_concurrency(client: httpx.AsyncClient, namespace: str) -> None:
    batches = [[identified(namespace, payload=(n, m)) for m in range(5)] for n in range(20)]
    answers = await asyncio.gather(*(publish(client, *batch) for batch in batches))
    for batch, answer in zip(batches, answers, strict=True):
        first = positions_of(answer)[0]
        assert positions_of(answer) == list(range(first, first + 5))
        assert ids_of(answer) == [one["id"] for one in batch]
    assert len(await read(client, namespace=namespace)) == 100


@pytest.mark.case("publish-batch-is-atomic")
@pytest.mark.parametrize("bad", [{"type": "no end "}, {"version": 0}, {"aggregate_ids": ["\n"]}])
async def test_a_batch_with_one_bad_fact_writes_none(client: httpx.AsyncClient, namespace: str, bad: Json) -> None:
    response = await post_facts(client, fact(namespace), fact(namespace) | bad, fact(namespace))
    problem(response, 422, "invalid-request")
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("publish-published-at-never-decreases")
async def test_published_at_never_decreases(client: httpx.AsyncClient, namespace: str) -> None:
    await asyncio.gather(*(publish(client, fact(namespace)) for _ in range(40)))
    times = [one["published_at"] for one in await read(client, namespace=namespace)]
    assert times == sorted(times)
    assert all(UTC_MICROSECONDS.fullmatch(time) for time in times)


@pytest.mark.case("retry-equal")
async def test_an_equal_retry_answers_200_with_the_original_positions(
    client: httpx.AsyncClient, namespace: str
) -> None:
    facts = [identified(namespace, payload={"n": n}, aggregate_ids=["a"], meta={"k": "v"}) for n in range(3)]
    original = await publish(client, *facts)
    await publish(client, fact(namespace, "Later"))
    again = answered(await post_facts(client, *facts), 200)
    assert again["facts"] == original["facts"]
    assert (again["position"], again["cursor"]) == (original["position"], original["cursor"])
    assert again["published_at"] == original["published_at"]
    assert len(await read(client, namespace=namespace)) == 4


@pytest.mark.case("retry-equal-keeps-the-head")
async def test_an_equal_retry_does_not_move_the_head(client: httpx.AsyncClient, namespace: str) -> None:
    one = identified(namespace)
    cursor = (await publish(client, one))["cursor"]
    answered(await post_facts(client, one), 200)
    assert await read(client, namespace=namespace, after=cursor) == []


@pytest.mark.case("retry-in-another-spelling")
@pytest.mark.parametrize(
    "other",
    [
        {"aggregate_ids": ["b", "a"]},
        {"aggregate_ids": ["a", "b", "a"]},
        {"meta": {"l": ["y", "x"], "k": "v"}},
        {"meta": {"k": ["v"], "l": ["x", "y", "x"]}},
        {"version": 1},
    ],
    ids=lambda other: repr(other),
)
async def test_a_retry_in_another_order_is_equal(client: httpx.AsyncClient, namespace: str, other: Json) -> None:
    one = identified(namespace, aggregate_ids=["a", "b"], meta={"k": "v", "l": ["x", "y"]})
    original = await publish(client, one)
    assert answered(await post_facts(client, one | other), 200)["facts"] == original["facts"]


@pytest.mark.case("retry-with-other-content")
@pytest.mark.parametrize(
    "other",
    [
        {"type": "Changed"},
        {"version": 2},
        {"aggregate_ids": ["a"]},
        {"aggregate_ids": ["a", "b", "c"]},
        {"meta": {}},
        {"meta": {"k": "w"}},
        {"meta": {"k": ["v", "w"]}},
        {"payload": {"amount": 2}},
        {"payload": {"amount": 1.0}},
    ],
    ids=lambda other: repr(other),
)
async def test_the_same_id_with_other_content_is_a_conflict(
    client: httpx.AsyncClient, namespace: str, other: Json
) -> None:
    one = identified(namespace, aggregate_ids=["a", "b"], meta={"k": "v"}, payload={"amount": 1})
    await publish(client, one)
    told = problem(await post_facts(client, one | other), 409, "fact-id-conflict")
    assert told["ids"] == [one["id"]]
    assert len(await read(client, namespace=namespace)) == 1


@pytest.mark.case("retry-in-another-namespace")
async def test_the_same_id_in_another_namespace_is_a_conflict(client: httpx.AsyncClient, namespace: str) -> None:
    one = identified(namespace)
    await publish(client, one)
    told = problem(await post_facts(client, one | {"namespace": f"{namespace}.other"}), 409, "fact-id-conflict")
    assert told["ids"] == [one["id"]]


@pytest.mark.case("retry-some-known")
async def test_a_batch_of_which_some_facts_are_known_is_a_conflict(client: httpx.AsyncClient, namespace: str) -> None:
    known, new = identified(namespace), identified(namespace)
    await publish(client, known)
    told = problem(await post_facts(client, new, known), 409, "fact-id-conflict")
    assert told["ids"] == [known["id"]]
    problem(await client.get(f"/v1/facts/{new['id']}"), 404, "fact-not-found")


@pytest.mark.case("retry-without-ids-is-new")
async def test_facts_without_ids_are_new_each_time(client: httpx.AsyncClient, namespace: str) -> None:
    first, second = await publish(client, fact(namespace)), await publish(client, fact(namespace))
    assert ids_of(first) != ids_of(second)
    assert second["position"] > first["position"]


@pytest.mark.case("retry-beside-its-original")
async def test_a_retry_beside_its_original_gets_the_same_positions(client: httpx.AsyncClient, namespace: str) -> None:
    for n in range(30):
        facts = [identified(namespace, payload=n), identified(namespace, payload=n)]
        responses = await asyncio.gather(*(post_facts(client, *facts) for _ in range(3)))
        assert sorted(response.status_code for response in responses) == [200, 200, 201]
        first, *others = [response.json()["facts"] for response in responses]
        assert others == [first, first]
    assert len(await read(client, namespace=namespace)) == 60


@pytest.mark.case("retry-beside-other-content")
async def test_of_two_contents_for_one_id_at_once_one_is_published(client: httpx.AsyncClient, namespace: str) -> None:
    for _ in range(20):
        one = identified(namespace)
        contents: list[Any] = ["first", "second"]
        responses = await asyncio.gather(*(post_facts(client, one | {"payload": content}) for content in contents))
        assert sorted(response.status_code for response in responses) == [201, 409]
        winner = next(content for content, each in zip(contents, responses, strict=True) if each.status_code == 201)
        assert answered(await client.get(f"/v1/facts/{one['id']}"))["payload"] == winner


@pytest.mark.case("publish-same-id-twice-in-a-batch")
async def test_a_batch_with_an_id_twice_is_refused(client: httpx.AsyncClient, namespace: str) -> None:
    one = identified(namespace)
    problem(await post_facts(client, one, one), 422, "invalid-request")
    problem(await post_facts(client, one, one | {"id": one["id"].upper()}), 422, "invalid-request")
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("publish-neighbours-keep-their-outcomes")
async def test_a_refused_request_never_touches_its_neighbours(client: httpx.AsyncClient, namespace: str) -> None:
    known = identified(namespace, "Known", aggregate_ids=["taken"])
    await publish(client, known)
    condition = {"fail_if_match": [{"namespaces": [namespace], "aggregate_ids": ["taken"]}]}
    requests = [post_facts(client, fact(namespace, "Fine")) for _ in range(10)]
    requests += [post_facts(client, fact(namespace, "Refused"), condition=condition) for _ in range(10)]
    requests += [post_facts(client, known | {"payload": "other"}) for _ in range(10)]
    statuses = [response.status_code for response in await asyncio.gather(*requests)]
    assert statuses == [201] * 10 + [409] * 20
    assert [one["type"] for one in await read(client, namespace=namespace)] == ["Known"] + ["Fine"] * 10


@pytest.mark.case("publish-order-of-one-client")
async def test_positions_grow_with_acknowledged_publishes(client: httpx.AsyncClient, namespace: str) -> None:
    positions = [(await publish(client, fact(namespace)))["position"] for _ in range(20)]
    assert positions == sorted(set(positions))
    assert (await page(client, namespace=namespace))["head"] >= positions[-1]


@pytest.mark.case("publish-null-is-left-out")
async def test_null_in_an_optional_member_means_that_it_is_left_out(client: httpx.AsyncClient, namespace: str) -> None:
    """As Jackson, System.Text.Json and pydantic write what was not set."""
    one = {
        "id": None,
        "namespace": namespace,
        "type": "Noted",
        "version": None,
        "data_subject": None,
        "aggregate_ids": None,
        "meta": None,
        "payload": None,
    }
    item = {"namespaces": [namespace], "types": None, "aggregate_ids": None, "any_aggregate_id": None, "meta": None}
    condition = {"fail_if_match": [item | {"after": None}], "fail_unless_match": None, "after": None}
    await publish(client, one, condition=condition)
    [stored] = await read(client, namespace=namespace)
    assert (stored["version"], stored["aggregate_ids"], stored["meta"], stored["payload"]) == (1, [], {}, None)
    found = answered(await client.post("/v1/facts/search", json={"items": [item]}))["facts"]
    assert [each["id"] for each in found] == [stored["id"]]
    answered(await client.post("/v1/facts/search", json={"items": None}))
    line = one | {"position": None, "published_at": None, "redacted": None, "erased": None, "unreadable": None}
    imported = await client.post(
        "/v1/facts/import", content=json.dumps(line), headers={"content-type": "application/x-ndjson"}
    )
    assert json.loads(imported.text.splitlines()[-1])["result"]["published"] == 1
