"""Subscriptions of a service with keys: who finds one, who may work on it, and whose facts it hands out."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.access.conftest import Guarded
from tests.access.keys import NOTHING, Patterns, known, make_key, new_client, new_grants
from tests.support.builders import publication

EVERY: Patterns = (["*"], [])


class Team:
    """A namespace of facts, and clients of keys with other grants."""

    def __init__(self, guarded: Guarded, opened: AsyncExitStack) -> None:
        self.guarded = guarded
        self.opened = opened
        self.namespace = f"team{uuid4().hex}"
        self.name = f"{self.namespace}.billing"
        self.path = f"/v1/subscriptions/{self.name}"

    async def client(
        self, *, read: Patterns = NOTHING, subscribe: Patterns = NOTHING, publish: Patterns = NOTHING
    ) -> httpx.AsyncClient:
        grants = new_grants(publish=publish, read=read, subscribe=subscribe)
        key = await make_key(self.guarded.service.database_url, grants)
        await known(self.guarded.url, key.secret)
        return await self.opened.enter_async_context(new_client(self.guarded.url, key.secret))

    @property
    def own(self) -> Patterns:
        return [self.namespace], []

    @property
    def names(self) -> Patterns:
        return [f"{self.namespace}.*"], []

    def body(self, *namespaces: str, **members: Any) -> dict[str, Any]:
        items = [{"namespaces": list(namespaces)}] if namespaces else []
        return {"query": {"items": items}, "start": "start"} | members


@pytest.fixture
async def team(guarded: Guarded) -> AsyncIterator[Team]:
    async with AsyncExitStack() as opened:
        yield Team(guarded, opened)


async def test_a_name_that_is_not_granted_does_not_exist(team: Team) -> None:
    owner = await team.client(read=team.own, subscribe=team.names)
    assert (await owner.put(team.path, json=team.body(team.namespace))).status_code == 201
    other = await team.client(read=EVERY, subscribe=(["others.*"], []))
    unknown = await other.get(f"{team.path}x")
    for method, path, body in (
        ("GET", "", None),
        ("PUT", "", team.body()),
        ("PATCH", "", {"max_attempts": 1}),
        ("DELETE", "", None),
        ("POST", "/claim", {"worker": "w"}),
        ("POST", "/ack", {"leases": ["1.2.3"]}),
        ("GET", "/parked", None),
        ("POST", "/parked/discard", {}),
        ("POST", "/reset", {"to": "start"}),
        ("POST", "/pause", {}),
        ("POST", "/resume", None),
    ):
        response = await other.request(method, f"{team.path}{path}", json=body)
        assert (response.status_code, response.json()["type"]) == (404, unknown.json()["type"]), (method, path)
    assert (await other.get("/v1/subscriptions")).json()["subscriptions"] == []
    listed = (await owner.get("/v1/subscriptions")).json()["subscriptions"]
    assert [each["name"] for each in listed] == [team.name]


async def test_an_author_may_only_ask_for_what_may_be_read(team: Team) -> None:
    author = await team.client(read=team.own, subscribe=team.names)
    refused = await author.put(team.path, json=team.body(team.namespace, "payroll"))
    assert refused.status_code == 403
    assert refused.json()["errors"][0]["pointer"] == "/query/items/0/namespaces"
    blind = await team.client(subscribe=team.names)
    assert (await blind.put(team.path, json=team.body())).status_code == 403


async def test_without_namespaces_it_is_about_what_its_author_may_read(team: Team) -> None:
    publisher = await team.client(publish=EVERY)
    author = await team.client(read=team.own, subscribe=team.names)
    assert (await author.put(team.path, json=team.body())).status_code == 201
    for namespace in (f"{team.namespace}x", team.namespace):
        fact = {"namespace": namespace, "type": "Done", "payload": {}}
        assert (await publisher.post("/v1/facts", json=publication(fact))).status_code == 201
    claimed = (await author.post(f"{team.path}/claim", json={"worker": "w", "wait_seconds": 5})).json()["facts"]
    assert [each["fact"]["namespace"] for each in claimed] == [team.namespace]


async def test_a_worker_that_may_read_less_is_refused_and_moves_nothing(team: Team) -> None:
    publisher = await team.client(publish=EVERY)
    author = await team.client(read=EVERY, subscribe=team.names)
    other = f"{team.namespace}-other"
    assert (await author.put(team.path, json=team.body(team.namespace, other))).status_code == 201
    for namespace in (team.namespace, other):
        fact = {"namespace": namespace, "type": "Done", "payload": {}}
        assert (await publisher.post("/v1/facts", json=publication(fact))).status_code == 201
    before = (await author.get(team.path)).json()
    worker = await team.client(read=team.own, subscribe=team.names)
    leases = {"leases": ["1.2.3"]}
    for path, asked in (("/claim", {"worker": "w"}), ("/ack", leases), ("/nack", leases), ("/parked/replay", {})):
        assert (await worker.post(f"{team.path}{path}", json=asked)).status_code == 403, path
    assert (await worker.get(f"{team.path}/parked")).status_code == 403
    after = (await author.get(team.path)).json()
    assert (after["position"], after["in_flight"]) == (before["position"], 0)
    claimed = (await author.post(f"{team.path}/claim", json={"worker": "w"})).json()["facts"]
    assert len(claimed) == 2
    # Nor may its publishes acknowledge, whatever it may publish.
    acknowledging = await team.client(publish=EVERY, read=team.own, subscribe=team.names)
    body = publication({"namespace": "x", "type": "Done", "payload": {}})
    body |= {"acknowledge": {"subscription": team.name, "leases": [each["lease"] for each in claimed]}}
    assert (await acknowledging.post("/v1/facts", json=body)).status_code == 403
    unnamed = await team.client(publish=EVERY, read=EVERY)
    assert (await unnamed.post("/v1/facts", json=body)).status_code == 404
    assert (await author.get(team.path)).json()["in_flight"] == 2


async def test_a_key_may_not_grant_names_that_it_has_not(team: Team, guarded: Guarded) -> None:
    managing = new_grants(manage=(["factwire"], []), subscribe=team.names)
    key = await make_key(guarded.service.database_url, managing)
    await known(guarded.url, key.secret)
    async with new_client(guarded.url, key.secret) as manager:
        for patterns, status in ((list(team.names[0]), 201), (["*"], 403)):
            grants = {"subscribe": {"include": patterns}}
            made = await manager.post("/v1/keys", json={"name": "of a worker", "grants": grants})
            assert made.status_code == status, made.text
