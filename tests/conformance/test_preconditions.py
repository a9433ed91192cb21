"""`POST /v1/facts` with a condition whose items have bounds of their own, or need a fact, and what a refusal says."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx
import pytest

from tests.conformance.conftest import RaiseEpoch
from tests.conformance.wire import (
    Json,
    answered,
    fact,
    head_cursor,
    identified,
    ids_of,
    page,
    pointers,
    position_of,
    post_facts,
    problem,
    publish,
    publish_many,
    read,
)


def needs(*items: Json) -> Json:
    return {"fail_unless_match": list(items)}


@pytest.mark.case("condition-item-after-of-its-own")
async def test_each_item_has_a_bound_of_its_own(client: httpx.AsyncClient, namespace: str) -> None:
    a, b = ({"namespaces": [namespace], "aggregate_ids": [id]} for id in "ab")
    at_a = await publish(client, fact(namespace, aggregate_ids=["a"]))
    at_b = await publish(client, fact(namespace, aggregate_ids=["b"]))
    both = {"fail_if_match": [a | {"after": at_a["cursor"]}, b | {"after": at_b["cursor"]}]}
    await publish(client, fact(namespace, aggregate_ids=["c"]), condition=both)
    later = await publish(client, fact(namespace, aggregate_ids=["a"]))
    told = problem(await post_facts(client, fact(namespace), condition=both), 409, "condition-failed")
    assert (told["item"], told["position"], told["id"]) == (
        "/fail_if_match/0",
        later["position"],
        ids_of(later)[0],
    )
    crossed = {"fail_if_match": [a | {"after": later["cursor"]}, b | {"after": at_a["cursor"]}]}
    told = problem(await post_facts(client, fact(namespace), condition=crossed), 409, "condition-failed")
    assert (told["item"], told["position"]) == ("/fail_if_match/1", at_b["position"])


@pytest.mark.case("condition-item-after-in-place-of-the-conditions")
async def test_the_after_of_a_condition_is_for_items_without_one(client: httpx.AsyncClient, namespace: str) -> None:
    item = {"namespaces": [namespace]}
    first = await publish(client, fact(namespace))
    await publish(client, fact(namespace), condition={"fail_if_match": [item], "after": first["cursor"]})
    last = await head_cursor(client)
    wide = {"fail_if_match": [item | {"after": "start"}], "after": last}
    problem(await post_facts(client, fact(namespace), condition=wide), 409, "condition-failed")
    await publish(
        client, fact(namespace), condition={"fail_if_match": [item | {"after": last}], "after": first["cursor"]}
    )


@pytest.mark.case("condition-needs-a-fact")
async def test_a_condition_may_need_a_fact(client: httpx.AsyncClient, namespace: str) -> None:
    customer = {"namespaces": [namespace], "types": ["CustomerRegistered"], "aggregate_ids": ["customer-7"]}
    order = fact(namespace, "OrderPlaced", aggregate_ids=["order-1", "customer-7"])
    told = problem(await post_facts(client, order, condition=needs(customer)), 409, "condition-failed")
    assert (told["item"], told["position"], told["id"]) == ("/fail_unless_match/0", None, None)
    assert told["head_cursor"]
    assert await read(client, namespace=namespace) == []
    await publish(client, fact(namespace, "CustomerRegistered", aggregate_ids=["customer-7"]))
    await publish(client, order, condition=needs(customer))


@pytest.mark.case("condition-needs-each-item")
@pytest.mark.parametrize("missing", ["a", "b", "c"])
async def test_each_item_needs_a_fact(client: httpx.AsyncClient, namespace: str, missing: str) -> None:
    items = [{"namespaces": [namespace], "aggregate_ids": [id]} for id in "abc"]
    await publish(client, *(fact(namespace, aggregate_ids=[id]) for id in "abc" if id != missing))
    told = problem(await post_facts(client, fact(namespace), condition=needs(*items)), 409, "condition-failed")
    assert told["item"] == f"/fail_unless_match/{'abc'.index(missing)}"


@pytest.mark.case("condition-needs-a-fact-after-a-bound")
@pytest.mark.parametrize("spelled", ["cursor", "position", "id"])
async def test_a_fact_may_be_needed_after_a_bound(client: httpx.AsyncClient, namespace: str, spelled: str) -> None:
    first = await publish(client, fact(namespace))
    after = ids_of(first)[0] if spelled == "id" else first[spelled]
    item = {"namespaces": [namespace], "types": ["Noted"], "after": after}
    problem(await post_facts(client, fact(namespace, "Other"), condition=needs(item)), 409, "condition-failed")
    await publish(client, fact(namespace))
    await publish(client, fact(namespace, "Other"), condition=needs(item))


@pytest.mark.case("condition-needs-no-fact-of-its-own-request")
async def test_the_facts_of_a_request_satisfy_nothing(client: httpx.AsyncClient, namespace: str) -> None:
    item = {"namespaces": [namespace], "types": ["Noted"]}
    problem(await post_facts(client, fact(namespace), condition=needs(item)), 409, "condition-failed")


@pytest.mark.case("condition-needs-a-fact-that-arrives-beside-it")
async def test_a_needed_fact_that_is_acknowledged_first_is_always_found(
    client: httpx.AsyncClient, namespace: str
) -> None:
    async def register_then_order(id: str) -> None:
        await publish(client, fact(namespace, "Registered", aggregate_ids=[id]))
        item = {"namespaces": [namespace], "types": ["Registered"], "aggregate_ids": [id]}
        await publish(client, fact(namespace, "Ordered", aggregate_ids=[id]), condition=needs(item))

    await asyncio.gather(*(register_then_order(f"customer-{n}") for n in range(40)))


@pytest.mark.case("condition-needs-and-forbids")
async def test_a_version_is_expected_without_gaps(client: httpx.AsyncClient, namespace: str) -> None:
    """The expected version n: a fact with n, and none with n + 1."""

    def stream(version: int) -> Json:
        return {"namespaces": [namespace], "aggregate_ids": ["s"], "meta": {"version": str(version)}}

    async def append(version: int) -> httpx.Response:
        condition: Json = {"fail_if_match": [stream(version)]}
        if version > 1:
            condition |= needs(stream(version - 1))
        one = fact(namespace, aggregate_ids=["s"], meta={"version": str(version)})
        return await post_facts(client, one, condition=condition)

    told = problem(await append(2), 409, "condition-failed")
    assert told["item"] == "/fail_unless_match/0"
    for version in (1, 2, 3):
        responses = await asyncio.gather(*(append(version) for _ in range(5)))
        assert sorted(each.status_code for each in responses) == [201, 409, 409, 409, 409]
    told = problem(await append(3), 409, "condition-failed")
    assert told["item"] == "/fail_if_match/0"


@pytest.mark.case("condition-any-aggregate-id")
async def test_an_item_may_have_alternatives(client: httpx.AsyncClient, namespace: str) -> None:
    seats = [f"seat-{n}" for n in range(100)]
    item = {"namespaces": [namespace], "types": ["Taken"], "aggregate_ids": ["show"], "any_aggregate_id": seats}
    await publish(client, fact(namespace, "Taken", aggregate_ids=["show", "seat-100"]))
    await publish(client, fact(namespace, "Taken", aggregate_ids=["other", "seat-7"]))
    await publish(client, fact(namespace, "Held", aggregate_ids=["show", "seat-7"]))
    before = await publish(client, fact(namespace), condition={"fail_if_match": [item]})
    problem(await post_facts(client, fact(namespace), condition=needs(item)), 409, "condition-failed")
    taken = await publish(client, fact(namespace, "Taken", aggregate_ids=["show", "seat-99"]))
    told = problem(
        await post_facts(client, fact(namespace), condition={"fail_if_match": [item], "after": before["cursor"]}),
        409,
        "condition-failed",
    )
    assert told["position"] == taken["position"]
    await publish(client, fact(namespace), condition=needs(item))


@pytest.mark.case("condition-of-many-items")
async def test_a_decision_on_forty_aggregates_has_one_winner(client: httpx.AsyncClient, namespace: str) -> None:
    ids = [f"student-{n}" for n in range(40)]
    items = [{"namespaces": [namespace], "aggregate_ids": [id]} for id in ids]
    for condition in ({"fail_if_match": items}, {"fail_if_match": [{"any_aggregate_id": [*ids, "more"]}]}):
        bound = condition | {"after": await head_cursor(client)}
        responses = await asyncio.gather(
            *(post_facts(client, fact(namespace, aggregate_ids=[id]), condition=bound) for id in ids[:10])
        )
        assert sorted(each.status_code for each in responses) == [201, *[409] * 9]


@pytest.mark.case("condition-bound-of-an-unknown-fact")
@pytest.mark.parametrize("name", ["fail_if_match", "fail_unless_match"])
async def test_the_id_of_no_fact_is_no_bound(client: httpx.AsyncClient, namespace: str, name: str) -> None:
    condition = {name: [{"namespaces": [namespace], "after": str(uuid.uuid4())}]}
    problem(await post_facts(client, fact(namespace), condition=condition), 404, "fact-not-found")


@pytest.mark.case("condition-of-a-retry-is-not-looked-at")
@pytest.mark.parametrize(
    "condition",
    [
        {"fail_if_match": [{"namespaces": ["~"]}]},
        {"fail_unless_match": [{"namespaces": ["~"], "types": ["Never"]}]},
        {"fail_if_match": [{"namespaces": ["~"], "after": 10**15}]},
        {"fail_if_match": [{"namespaces": ["~"], "after": str(uuid.uuid4())}]},
    ],
    ids=["fails", "needs", "ahead", "unknown"],
)
async def test_a_retry_is_one_whatever_its_condition(
    client: httpx.AsyncClient, namespace: str, condition: dict[str, list[Json]]
) -> None:
    one = identified(namespace)
    original = await publish(client, one)
    named = {name: [item | {"namespaces": [namespace]} for item in items] for name, items in condition.items()}
    again = answered(await post_facts(client, one, condition=named), 200)
    assert again["facts"] == original["facts"]
    problem(
        await post_facts(client, one | {"payload": "other"}, condition=named),
        409,
        "fact-id-conflict",
    )


@pytest.mark.case("condition-failed-names-the-head")
@pytest.mark.parametrize("need", [False, True])
async def test_a_failed_condition_names_the_head(client: httpx.AsyncClient, namespace: str, need: bool) -> None:
    await publish(client, fact(namespace))
    item = {"namespaces": [namespace], "types": ["Never" if need else "Noted"]}
    condition = needs(item) if need else {"fail_if_match": [item]}
    told = problem(await post_facts(client, fact(namespace), condition=condition), 409, "condition-failed")
    assert position_of(told["head_cursor"]) >= (await read(client, namespace=namespace))[-1]["position"]
    if not need:
        # What is read now up to there is all that the next attempt must look behind.
        await publish(client, fact(namespace), condition={"fail_if_match": [item], "after": told["head_cursor"]})


@pytest.mark.case("condition-after-the-head-cursor-of-a-descending-page")
async def test_the_newest_fact_is_read_and_decided_on(client: httpx.AsyncClient, namespace: str) -> None:
    """Read the newest, decide, publish behind what was read: the numbers are without gaps and without repeats."""

    async def invoice() -> int:
        while True:
            newest = await page(client, namespace=namespace, order="desc", limit=1)
            number = newest["facts"][0]["payload"] + 1 if newest["facts"] else 1
            condition = {"fail_if_match": [{"namespaces": [namespace]}], "after": newest["head_cursor"]}
            response = await post_facts(client, fact(namespace, payload=number), condition=condition)
            if response.status_code == 201:
                return number
            problem(response, 409, "condition-failed")

    assert sorted(await asyncio.gather(*(invoice() for _ in range(12)))) == list(range(1, 13))


@pytest.mark.case("page-head-cursor")
async def test_a_page_has_the_cursor_of_the_head_where_a_decision_is_right(
    client: httpx.AsyncClient, namespace: str
) -> None:
    await publish_many(client, namespace, 3)
    last = await publish(client, fact(f"{namespace}.other"))

    async def of(**parameters: Any) -> str | None:
        cursor: str | None = (await page(client, namespace=namespace, limit=2, **parameters))["head_cursor"]
        return cursor

    first = await page(client, namespace=namespace, limit=2)
    assert (first["caught_up"], first["head_cursor"]) == (False, None)
    assert position_of(await of(after=first["cursor"]) or "") >= last["position"]
    assert await of(until=first["cursor"]) is None
    newest = await page(client, namespace=namespace, limit=2, order="desc")
    assert position_of(newest["head_cursor"]) >= last["position"]
    assert await of(order="desc", until=newest["until"]) is None
    assert position_of(await of(order="desc", after="head") or "") >= last["position"]


@pytest.mark.case("page-head-cursor-of-an-epoch")
async def test_the_cursor_of_the_head_is_of_the_epoch_of_the_page(
    client: httpx.AsyncClient, namespace: str, raise_epoch: RaiseEpoch
) -> None:
    """A decision on history that was lost is refused: a bare position would let it through."""
    await publish(client, fact(namespace))
    lost = await page(client, namespace=namespace, order="desc", limit=1)
    await raise_epoch(position_of(lost["head_cursor"]) - 1)
    item = {"namespaces": [namespace], "types": ["Other"]}
    for after, status in ((lost["head_cursor"], 409), (position_of(lost["head_cursor"]), 201)):
        response = await post_facts(client, fact(namespace), condition={"fail_if_match": [item], "after": after})
        assert response.status_code == status


@pytest.mark.case("query-any-aggregate-id")
async def test_reads_and_streams_take_alternatives(client: httpx.AsyncClient, namespace: str) -> None:
    ids = [
        ids_of(await publish(client, fact(namespace, type_, aggregate_ids=about)))[0]
        for type_, about in (("A", ["x"]), ("A", ["y", "z"]), ("B", ["x", "z"]), ("A", ["w"]), ("A", []))
    ]

    async def found(**parameters: Any) -> list[int]:
        return [ids.index(one["id"]) for one in await read(client, namespace=namespace, **parameters)]

    assert await found(any_aggregate_id=["x", "y"]) == [0, 1, 2]
    assert await found(any_aggregate_id=["x", "y"], type="A") == [0, 1]
    assert await found(any_aggregate_id=["x", "y"], aggregate_id="z") == [1, 2]
    assert await found(any_aggregate_id=["nothing"]) == []
    body = {"items": [{"namespaces": [namespace], "any_aggregate_id": ["w", "x"]}]}
    searched = answered(await client.post("/v1/facts/search", json=body))["facts"]
    assert [ids.index(one["id"]) for one in searched] == [0, 2, 3]
    exported = (await client.get("/v1/facts/export", params={"namespace": namespace, "any_aggregate_id": "w"})).text
    assert [line.count(ids[3]) for line in exported.splitlines()] == [1]


@pytest.mark.case("query-any-aggregate-id-empty")
async def test_a_list_of_no_alternatives_is_refused_everywhere(client: httpx.AsyncClient, namespace: str) -> None:
    body = {"items": [{"namespaces": [namespace], "any_aggregate_id": []}]}
    for path in ("/v1/facts/search", "/v1/stream"):
        told = problem(await client.post(path, json=body), 422, "invalid-request")
        assert pointers(told) == ["/items/0/any_aggregate_id"]
