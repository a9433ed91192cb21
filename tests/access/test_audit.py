"""What managers do is a fact that only managers can read and nobody can publish."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.access.conftest import Guarded
from tests.access.keys import EVERYTHING_GRANTED, known, make_key, new_client, new_grants
from tests.access.test_keys import run
from tests.conftest import StartService
from tests.support.builders import new_fact, publication
from tests.support.waiting import until


async def audit(client: httpx.AsyncClient, **parameters: Any) -> list[dict[str, Any]]:
    response = await client.get("/v1/facts", params={"namespace": "factwire", "limit": 1000, **parameters})
    assert response.status_code == 200
    facts: list[dict[str, Any]] = response.json()["facts"]
    return facts


async def test_every_change_of_a_key_is_a_fact_that_says_who_made_it(start_service: StartService) -> None:
    service = await start_service(auth="keys")
    made = await make_key(service.database_url, EVERYTHING_GRANTED)
    await known(service.url, made.secret)
    async with new_client(service.url, made.secret) as client:
        grants = {"read": {"include": ["shop"]}}
        key = (await client.post("/v1/keys", json={"name": "shop", "grants": grants})).json()
        await client.post(f"/v1/keys/{key['id']}/rotate", json={"grace_seconds": 60})
        await client.delete(f"/v1/keys/{key['id']}")
        facts = await audit(client, aggregate_id=f"key:{key['id']}")
        assert [fact["type"] for fact in facts] == ["KeyCreated", "KeyRotated", "KeyRevoked"]
        assert {fact["payload"]["by"] for fact in facts} == {f"key:{made.key.id}"}
        assert facts[0]["payload"]["grants"]["read"]["include"] == ["shop"]
        assert key["secret"] not in str(facts)


async def test_the_expiry_of_a_key_is_a_fact(start_service: StartService) -> None:
    service = await start_service(auth="keys", workers=2)
    made = await make_key(service.database_url, EVERYTHING_GRANTED)
    await known(service.url, made.secret)
    async with new_client(service.url, made.secret) as client:
        key: dict[str, Any] = {}

        async def is_created() -> bool:
            """The other process may know the key a moment later."""
            expires_at = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            body = {"name": "shop", "grants": {"read": {"include": ["shop"]}}, "expires_at": expires_at}
            answer = await client.post("/v1/keys", json=body)
            key.update(answer.json())
            return answer.status_code == 201

        async def has_ended() -> bool:
            answer = await client.get("/v1/facts", params={"aggregate_id": f"key:{key['id']}", "type": "KeyExpired"})
            return answer.is_success and bool(answer.json()["facts"])

        await until(is_created)
        await until(has_ended)
        _, fact = await audit(client, aggregate_id=f"key:{key['id']}")
        assert fact["payload"] == {"by": "key-expiries", "expires_at": key["expires_at"]}
        assert fact["published_at"] > key["expires_at"]


async def test_an_epoch_that_is_raised_begins_with_the_fact_of_it(start_service: StartService) -> None:
    service = await start_service(auth="keys")
    made = await make_key(service.database_url, EVERYTHING_GRANTED)
    await known(service.url, made.secret)
    done = await asyncio.to_thread(run, "epoch", "raise", database_url=service.database_url)
    assert done.returncode == 0, done.stderr
    async with new_client(service.url, made.secret) as client:
        [fact] = await audit(client, type="EpochRaised")
    assert fact["payload"] == {"by": "command-line", "epoch": 2, "forked_after": fact["position"] - 1}


async def test_the_audit_is_for_managers(guarded: Guarded, manager: httpx.AsyncClient) -> None:
    audited = await audit(manager)
    assert audited
    for secret in (guarded.reader, guarded.ours.secret, guarded.nobody):
        async with new_client(guarded.url, secret) as client:
            assert await audit(client) == []
            assert (await client.get(f"/v1/facts/{audited[0]['id']}")).status_code == 404
            assert (await client.get("/v1/types", params={"namespace": "factwire"})).status_code == 404
            exported = (await client.get("/v1/facts/export")).text
            assert '"namespace":"factwire"' not in exported


async def test_a_manager_of_other_namespaces_reads_no_audit(guarded: Guarded) -> None:
    url = guarded.service.database_url
    for manage, expected in ((["shop"], False), (["factwire"], True), (["*"], True)):
        made = await make_key(url, new_grants(read=(["*"], []), manage=(manage, [])))
        await known(guarded.url, made.secret)
        async with new_client(guarded.url, made.secret) as client:
            assert bool(await audit(client)) is expected
            assert ((await client.get("/v1/keys")).status_code == 200) is expected


async def test_nobody_publishes_in_its_namespace(manager: httpx.AsyncClient) -> None:
    response = await manager.post("/v1/facts", json=publication(new_fact(namespace="factwire")))
    assert response.status_code == 422
