"""`POST /v1/facts` with a condition: publish only if no fact matches a query after a position."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.conformance.conftest import RaiseEpoch
from tests.conformance.queries import AWKWARD_VALUES, Query, every_query, publish_corpus
from tests.conformance.wire import (
    JSON,
    TIMEOUT,
    Json,
    answered,
    epoch_of,
    fact,
    head_cursor,
    identified,
    ids_of,
    pointers,
    position_of,
    post_facts,
    problem,
    publish,
    publish_many,
    read,
)


def none_of(*items: Json, after: str | int | None = None) -> Json:
    condition: Json = {"fail_if_match": list(items)}
    return condition if after is None else {**condition, "after": after}


@pytest.mark.case("condition-on-an-empty-namespace")
async def test_a_condition_holds_where_nothing_was_published(client: httpx.AsyncClient, namespace: str) -> None:
    await publish(client, fact(namespace), condition=none_of({"namespaces": [namespace]}))
    assert len(await read(client, namespace=namespace)) == 1


@pytest.mark.case("condition-on-an-empty-log")
async def test_a_condition_holds_on_an_empty_log_and_fails_behind_its_first_fact(
    empty_url: str, namespace: str
) -> None:
    condition = none_of({"namespaces": [namespace]}, after=0)
    async with httpx.AsyncClient(base_url=empty_url, timeout=TIMEOUT) as client:
        first = await publish(client, fact(namespace), condition=condition)
        told = problem(await post_facts(client, fact(namespace), condition=condition), 409, "condition-failed")
    assert (told["position"], told["id"]) == (1, ids_of(first)[0])


@pytest.mark.case("condition-conflict-names-the-fact")
async def test_a_failed_condition_names_a_conflicting_fact(client: httpx.AsyncClient, namespace: str) -> None:
    conflicting = await publish(client, fact(namespace, aggregate_ids=["order-1"]))
    condition = none_of({"namespaces": [namespace], "aggregate_ids": ["order-1"]})
    told = problem(await post_facts(client, fact(namespace), condition=condition), 409, "condition-failed")
    assert (told["position"], told["id"]) == (conflicting["position"], ids_of(conflicting)[0])
    assert len(await read(client, namespace=namespace)) == 1


@pytest.mark.case("condition-unrelated-fact")
@pytest.mark.parametrize(
    "unrelated",
    [
        {"aggregate_ids": ["order-2"]},
        {"type": "Paid"},
        {"meta": {"tenant": "b"}},
        {"aggregate_ids": []},
        {"aggregate_ids": ["order-10", "order"]},
    ],
    ids=lambda unrelated: repr(unrelated),
)
async def test_an_unrelated_fact_does_not_conflict(client: httpx.AsyncClient, namespace: str, unrelated: Json) -> None:
    related = fact(namespace, "Placed", aggregate_ids=["order-1"], meta={"tenant": "a"})
    item = {"namespaces": [namespace], "types": ["Placed"], "aggregate_ids": ["order-1"], "meta": {"tenant": "a"}}
    await publish(client, related | unrelated)
    await publish(client, related, condition=none_of(item))


@pytest.mark.case("condition-matches-as-reads-do")
@every_query
async def test_a_condition_matches_the_same_facts_as_a_read(client: httpx.AsyncClient, query: Query) -> None:
    corpus = await publish_corpus(client)
    condition = none_of(*corpus.items(query.items), after=corpus.before)
    response = await post_facts(client, fact(corpus.token), condition=condition)
    if query.matches:
        told = problem(response, 409, "condition-failed")
        assert corpus.labels([told["id"]])[0] in query.matches
    else:
        answered(response, 201)


@pytest.mark.case("condition-matches-each-fact")
@pytest.mark.parametrize("label", "bcd")
async def test_a_condition_finds_each_of_its_facts_alone(client: httpx.AsyncClient, label: str) -> None:
    corpus = await publish_corpus(client)
    position = answered(await client.get(f"/v1/facts/{corpus.ids[label]}"))["position"]
    items = corpus.items([{"aggregate_ids": ["~c1"]}])
    condition = none_of(*items, after=position - 1)
    told = problem(await post_facts(client, fact(corpus.token), condition=condition), 409, "condition-failed")
    assert corpus.labels([told["id"]])[0] >= label


@pytest.mark.case("condition-after-is-exclusive")
@pytest.mark.parametrize("spelled", ["cursor", "position", "position as text", "id"])
@pytest.mark.parametrize("of_the_item", [False, True])
async def test_a_condition_looks_only_after_its_bound(
    client: httpx.AsyncClient, namespace: str, spelled: str, of_the_item: bool
) -> None:
    first = await publish(client, fact(namespace))
    bounds = {"position as text": str(first["position"]), "id": ids_of(first)[0]}
    after = bounds.get(spelled) or first[spelled]
    item = {"namespaces": [namespace], "types": ["Noted"]}
    condition = none_of(item | {"after": after}) if of_the_item else none_of(item, after=after)
    await publish(client, fact(namespace, "Unrelated"), condition=condition)
    second = await publish(client, fact(namespace), condition=condition)
    refused = await post_facts(client, fact(namespace), condition=condition)
    assert problem(refused, 409, "condition-failed")["position"] == second["position"]


@pytest.mark.case("condition-without-after-looks-at-the-whole-log")
async def test_a_condition_without_after_looks_at_the_whole_log(client: httpx.AsyncClient, namespace: str) -> None:
    first = await publish(client, fact(namespace, aggregate_ids=["first"]))
    await publish_many(client, namespace, 1500)
    condition = none_of({"namespaces": [namespace], "aggregate_ids": ["first"]})
    told = problem(await post_facts(client, fact(namespace), condition=condition), 409, "condition-failed")
    assert told["position"] == first["position"]


@pytest.mark.case("condition-after-zero")
async def test_a_condition_after_zero_looks_at_the_whole_log(client: httpx.AsyncClient, namespace: str) -> None:
    await publish(client, fact(namespace))
    condition = none_of({"namespaces": [namespace]}, after=0)
    problem(await post_facts(client, fact(namespace), condition=condition), 409, "condition-failed")


@pytest.mark.case("condition-after-of-an-epoch-to-come")
async def test_a_condition_after_a_cursor_of_an_unknown_epoch_is_refused(
    client: httpx.AsyncClient, namespace: str
) -> None:
    head = await head_cursor(client)
    unknown = f"{epoch_of(head) + 1}:{position_of(head)}"
    condition = none_of({"namespaces": [namespace]}, after=unknown)
    problem(await post_facts(client, fact(namespace), condition=condition), 409, "cursor-forked")
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("condition-after-of-an-older-epoch")
async def test_a_cursor_of_an_older_epoch_is_good_in_a_condition_up_to_the_fork(
    client: httpx.AsyncClient, namespace: str, raise_epoch: RaiseEpoch
) -> None:
    shared = await publish(client, fact(namespace))
    lost = await publish(client, fact(namespace, "Lost"))
    await raise_epoch(shared["position"])
    item = {"namespaces": [namespace], "types": ["Noted"]}
    told = problem(
        await post_facts(client, fact(namespace, "Other"), condition=none_of(item, after=lost["cursor"])),
        409,
        "cursor-forked",
    )
    assert told["forked_after"] == shared["position"]
    await publish(client, fact(namespace, "Other"), condition=none_of(item, after=shared["cursor"]))
    newer = await publish(client, fact(namespace))
    refused = await post_facts(client, fact(namespace), condition=none_of(item, after=shared["cursor"]))
    assert problem(refused, 409, "condition-failed")["position"] == newer["position"]


@pytest.mark.case("condition-after-beyond-the-head")
async def test_a_condition_after_a_position_beyond_the_head_is_refused(
    client: httpx.AsyncClient, namespace: str
) -> None:
    beyond = position_of(await head_cursor(client)) + 1_000_000
    condition = none_of({"namespaces": [namespace]}, after=beyond)
    problem(await post_facts(client, fact(namespace), condition=condition), 409, "cursor-ahead")


@pytest.mark.case("condition-after-unparsable")
@pytest.mark.parametrize("after", ["nonsense", "1:", ":1", "1:-1", "head", "", -1, 1.5, True, {}, []])
@pytest.mark.parametrize("place", ["/condition/after", "/condition/fail_if_match/0/after"])
async def test_a_condition_after_nonsense_or_the_head_is_refused(
    client: httpx.AsyncClient, namespace: str, after: Any, place: str
) -> None:
    item = {"namespaces": [namespace]}
    condition = (
        {"fail_if_match": [item], "after": after}
        if place == "/condition/after"
        else {"fail_if_match": [item | {"after": after}]}
    )
    told = problem(await post_facts(client, fact(namespace), condition=condition), 422, "invalid-request")
    assert pointers(told) == [place]


@pytest.mark.case("condition-has-one-winner")
async def test_of_publishers_that_exclude_each_other_one_wins(client: httpx.AsyncClient, namespace: str) -> None:
    for round_ in range(5):
        id_ = f"order-{round_}"
        condition = none_of({"namespaces": [namespace], "aggregate_ids": [id_]})
        facts = [identified(namespace, aggregate_ids=[id_]) for _ in range(20)]
        responses = await asyncio.gather(*(post_facts(client, one, condition=condition) for one in facts))
        winners = [response.json() for response in responses if response.status_code == 201]
        losers = [problem(response, 409, "condition-failed") for response in responses if response.status_code != 201]
        assert (len(winners), len(losers)) == (1, 19)
        assert {(told["position"], told["id"]) for told in losers} == {(winners[0]["position"], ids_of(winners[0])[0])}


@pytest.mark.case("condition-excludes-crosswise")
async def test_of_two_publishers_that_exclude_each_other_crosswise_one_wins(
    client: httpx.AsyncClient, namespace: str
) -> None:
    for round_ in range(20):
        left, right = f"left-{round_}", f"right-{round_}"
        responses = await asyncio.gather(
            post_facts(client, fact(namespace, left), condition=none_of({"namespaces": [namespace], "types": [right]})),
            post_facts(client, fact(namespace, right), condition=none_of({"namespaces": [namespace], "types": [left]})),
        )
        assert sorted(response.status_code for response in responses) == [201, 409]


@pytest.mark.case("condition-chains")
async def test_concurrent_increments_lose_nothing(client: httpx.AsyncClient, namespace: str) -> None:
    """Read, decide, publish if unchanged: the pattern that conditions are for."""

    async def increment() -> None:
        status = 409
        while status == 409:
            known = await read(client, namespace=namespace)
            after = known[-1]["position"] if known else 0
            condition = none_of({"namespaces": [namespace]}, after=after)
            response = await post_facts(client, fact(namespace, payload=len(known) + 1), condition=condition)
            status = response.status_code
        assert status == 201

    await asyncio.gather(*(increment() for _ in range(8)))
    assert [one["payload"] for one in await read(client, namespace=namespace)] == list(range(1, 9))


@pytest.mark.case("condition-of-several-items")
@pytest.mark.parametrize("taken", ["a", "b", "c"])
async def test_any_item_of_a_condition_fails_it(client: httpx.AsyncClient, namespace: str, taken: str) -> None:
    condition = none_of(*({"namespaces": [namespace], "aggregate_ids": [id_]} for id_ in "abc"))
    await publish(client, fact(namespace, aggregate_ids=["d"]), condition=condition)
    await publish(client, fact(namespace, aggregate_ids=[taken]))
    problem(await post_facts(client, fact(namespace), condition=condition), 409, "condition-failed")


@pytest.mark.case("condition-by-each-part")
@pytest.mark.parametrize(
    "part",
    [
        {"types": ["~Placed"]},
        {"namespaces": ["~shop"]},
        {"aggregate_ids": ["~order"]},
        {"meta": {"tenant": "~a"}},
        {"namespaces": ["~shop"], "types": ["~Placed"], "aggregate_ids": ["~order"], "meta": {"tenant": "~a"}},
    ],
    ids=lambda part: "+".join(part),
)
async def test_each_part_restricts_a_condition_by_itself(client: httpx.AsyncClient, namespace: str, part: Json) -> None:
    def named(text: str) -> str:
        return text.replace("~", f"{namespace}-")

    item = {
        kind: {key: named(value) for key, value in values.items()}
        if isinstance(values, dict)
        else [named(value) for value in values]
        for kind, values in part.items()
    }
    placed = fact(named("~shop"), named("~Placed"), aggregate_ids=[named("~order")], meta={"tenant": named("~a")})
    await publish(client, placed, condition=none_of(item))
    problem(await post_facts(client, placed, condition=none_of(item)), 409, "condition-failed")


@pytest.mark.case("condition-awkward-values")
@pytest.mark.parametrize("value", AWKWARD_VALUES)
async def test_a_condition_takes_awkward_values_literally(
    client: httpx.AsyncClient, namespace: str, value: str
) -> None:
    item = {"namespaces": [namespace], "aggregate_ids": [value], "meta": {"key": value}}
    await publish(client, fact(namespace, aggregate_ids=["other"], meta={"key": "other"}), condition=none_of(item))
    await publish(client, fact(namespace, aggregate_ids=[value], meta={"key": value}), condition=none_of(item))
    problem(await post_facts(client, fact(namespace), condition=none_of(item)), 409, "condition-failed")


@pytest.mark.case("condition-empty-values")
@pytest.mark.parametrize(
    "item",
    [
        {"namespaces": [""]},
        {"types": [""]},
        {"namespaces": ["~"], "types": [""]},
        {"namespaces": [""], "types": ["~"]},
        {"namespaces": ["~"], "aggregate_ids": [""]},
        {"types": ["~"], "meta": {"key": ""}},
    ],
    ids=repr,
)
async def test_an_empty_value_never_widens_a_condition(client: httpx.AsyncClient, namespace: str, item: Json) -> None:
    await publish(client, fact(namespace, namespace))
    named = json.loads(json.dumps(item).replace("~", namespace))
    response = await post_facts(client, fact(namespace), condition=none_of(named))
    if response.status_code == 422:
        problem(response, 422, "invalid-request")
    else:
        answered(response, 201)


@pytest.mark.case("condition-retry")
async def test_a_retried_conditional_publish_never_conflicts_with_itself(
    client: httpx.AsyncClient, namespace: str
) -> None:
    one = identified(namespace, aggregate_ids=["order-1"])
    condition = none_of({"namespaces": [namespace], "aggregate_ids": ["order-1"]})
    original = await publish(client, one, condition=condition)
    again = answered(await post_facts(client, one, condition=condition), 200)
    assert again["facts"] == original["facts"]


@pytest.mark.case("condition-retry-beside-its-original")
async def test_a_conditional_retry_beside_its_original_never_conflicts_with_it(
    client: httpx.AsyncClient, namespace: str
) -> None:
    for round_ in range(20):
        one = identified(namespace, aggregate_ids=[f"order-{round_}"])
        condition = none_of({"namespaces": [namespace], "aggregate_ids": one["aggregate_ids"]})
        responses = await asyncio.gather(*(post_facts(client, one, condition=condition) for _ in range(3)))
        assert sorted(response.status_code for response in responses) == [200, 200, 201]


@pytest.mark.case("condition-does-not-see-its-own-batch")
async def test_a_condition_does_not_see_the_facts_of_its_own_request(client: httpx.AsyncClient, namespace: str) -> None:
    batch = [fact(namespace, aggregate_ids=["order-1"]) for _ in range(3)]
    await publish(client, *batch, condition=none_of({"namespaces": [namespace], "aggregate_ids": ["order-1"]}))
    assert len(await read(client, namespace=namespace)) == 3


@pytest.mark.case("condition-without-items")
@pytest.mark.parametrize(
    "items",
    [
        [],
        [{}],
        [{"after": 1}],
        [{"types": ["A"]}, {}],
        *([{"types": ["A"], "meta": {"k": "v"}} | {part: []}] for part in ("namespaces", "types", "aggregate_ids")),
        [{"types": ["A"], "any_aggregate_id": []}],
        [{"types": ["A"], "meta": {}}],
    ],
    ids=repr,
)
async def test_a_condition_that_restricts_nothing_is_refused(
    client: httpx.AsyncClient, namespace: str, items: list[Json]
) -> None:
    told = problem(await post_facts(client, fact(namespace), condition=none_of(*items)), 422, "invalid-request")
    assert all(pointer.startswith("/condition/fail_if_match") for pointer in pointers(told))
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("condition-of-unknown-shape")
@pytest.mark.parametrize(
    ("condition", "pointer"),
    [
        ({}, "/condition"),
        ({"after": 0}, "/condition"),
        (None, "/condition"),
        ({"fail_if_match": None, "fail_unless_match": None}, "/condition"),
        ({"fail_unless_match": [{"types": ["A"]}], "after": 0}, "/condition/after"),
        ({"fail_unless_match": []}, "/condition/fail_unless_match"),
        ({"fail_if_match": {"types": ["A"]}}, "/condition/fail_if_match"),
        ({"fail_if_match": [{"type": ["A"]}]}, "/condition/fail_if_match/0"),
        ({"fail_if_match": [{"types": "A"}]}, "/condition/fail_if_match/0/types"),
        ({"fail_if_match": [{"meta": {"k": 3}}]}, "/condition/fail_if_match/0/meta"),
        ({"fail_if_match": [{"types": ["A"]}], "until": 1}, "/condition"),
        ([], "/condition"),
    ],
    ids=repr,
)
async def test_a_condition_of_unknown_shape_is_refused(
    client: httpx.AsyncClient, namespace: str, condition: Any, pointer: str
) -> None:
    body = json.dumps({"facts": [fact(namespace)], "condition": condition})
    response = await client.post("/v1/facts", content=body, headers=JSON)
    told = problem(response, 422, "invalid-request")
    assert all(named.startswith(pointer) for named in pointers(told))


@pytest.mark.case("condition-limits")
@pytest.mark.parametrize(
    ("items", "maximum"),
    [
        ([{"types": ["A"]}] * 101, 100),
        ([{"aggregate_ids": [str(n) for n in range(101)]}], 100),
        ([{"any_aggregate_id": [str(n) for n in range(101)]}], 100),
        ([{"any_aggregate_id": [str(n) for n in range(51)]}] * 20, 1000),
    ],
    ids=["items", "values", "alternatives", "all-values"],
)
async def test_a_condition_beyond_a_limit_names_it(
    client: httpx.AsyncClient, namespace: str, items: list[Json], maximum: int
) -> None:
    told = problem(await post_facts(client, fact(namespace), condition=none_of(*items)), 422, "limit-exceeded")
    assert told["maximum"] == maximum
    assert told["limit"]
