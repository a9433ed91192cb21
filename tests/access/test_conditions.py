"""Conditions look at what their author may read, and say so where that is not what was asked for."""

from typing import Any

import httpx
import pytest

from tests.access.conftest import Guarded
from tests.access.keys import known, make_key, new_client, new_grants
from tests.support.builders import new_fact, publication


async def test_a_condition_over_what_may_not_be_read_is_refused(guarded: Guarded, tenant: httpx.AsyncClient) -> None:
    """It would hold whatever is published there; who relied on it would not know that it protects nothing."""
    ours, theirs = guarded.ours.things, guarded.theirs.things
    fact = new_fact(namespace=ours.namespace)
    items: list[dict[str, Any]] = [
        {"namespaces": [ours.namespace], "types": ["None"]},
        {"namespaces": [theirs.namespace]},
    ]
    response = await tenant.post("/v1/facts", json=publication(fact, condition={"fail_if_match": items}))
    assert response.status_code == 403
    assert [error["pointer"] for error in response.json()["errors"]] == ["/condition/fail_if_match/1"]
    assert (await tenant.get(f"/v1/facts/{fact['id']}")).status_code == 404


async def test_one_who_may_only_publish_has_no_conditions(guarded: Guarded) -> None:
    made = await make_key(guarded.service.database_url, new_grants(publish=(["shop"], [])))
    await known(guarded.url, made.secret)
    async with new_client(guarded.url, made.secret) as client:
        condition = {"fail_if_match": [{"aggregate_ids": ["x"]}]}
        assert (await client.post("/v1/facts", json=publication(condition=condition))).status_code == 403
        assert (await client.post("/v1/facts", json=publication())).status_code == 201


@pytest.mark.parametrize("item", ["aggregate_ids", "any_aggregate_id", "types", "meta"])
async def test_a_fact_of_others_fails_no_condition_and_satisfies_none(
    guarded: Guarded, tenant: httpx.AsyncClient, item: str
) -> None:
    theirs = guarded.theirs.things
    parts: dict[str, Any] = {
        "aggregate_ids": [theirs.aggregate_id],
        "any_aggregate_id": [theirs.aggregate_id, "none"],
        "types": [theirs.type],
        "meta": {"tenant": theirs.tenant},
    }
    fact = new_fact(namespace=guarded.ours.things.namespace)
    condition = {"fail_if_match": [{item: parts[item]}]}
    assert (await tenant.post("/v1/facts", json=publication(fact, condition=condition))).status_code == 201
    needs = {"fail_unless_match": [{item: parts[item]}]}
    response = await tenant.post("/v1/facts", json=publication(new_fact(namespace=fact["namespace"]), condition=needs))
    told = response.json()
    assert (response.status_code, told["position"], told["id"]) == (409, None, None)


@pytest.mark.parametrize("name", ["fail_if_match", "fail_unless_match"])
async def test_the_id_of_a_fact_of_others_is_no_bound(guarded: Guarded, tenant: httpx.AsyncClient, name: str) -> None:
    ours, theirs = guarded.ours.things, guarded.theirs.things
    item = {"namespaces": [ours.namespace], "types": ["None"]}
    fact = new_fact(namespace=ours.namespace)
    for id, status in ((theirs.id, 404), (ours.id, 201 if name == "fail_if_match" else 409)):
        condition = {name: [item | {"after": id}]}
        assert (await tenant.post("/v1/facts", json=publication(fact, condition=condition))).status_code == status


async def test_an_id_of_others_is_a_conflict_without_a_place(guarded: Guarded, tenant: httpx.AsyncClient) -> None:
    theirs = guarded.theirs.things
    fact = new_fact(namespace=guarded.ours.things.namespace, id=theirs.id)
    response = await tenant.post("/v1/facts", json=publication(fact))
    assert response.status_code == 409
    assert response.json()["ids"] == [theirs.id]
    assert set(response.json()) == {"type", "title", "status", "detail", "help", "ids"}
