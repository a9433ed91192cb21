"""Idempotency keys of different principals never meet, and nobody can compute the ids of another one."""

import asyncio
import hmac
from collections.abc import Sequence
from uuid import uuid4

import httpx

from tests.access.keys import EVERY, EVERYTHING_GRANTED, known, make_key, new_client, new_grants
from tests.conftest import StartService
from tests.support.postgres import Databases, run_sql

NEW_SECRET = "update factwire.log set idempotency_secret = uuid_send(gen_random_uuid())"
FACT = {"namespace": "shop", "type": "OrderPlaced", "payload": 1}


async def publish(client: httpx.AsyncClient, key: str, status: int) -> Sequence[str]:
    answer = await client.post("/v1/facts", json={"facts": [FACT, FACT]}, headers={"idempotency-key": key})
    assert answer.status_code == status, answer.text
    return [fact["id"] for fact in answer.json()["facts"]]


async def test_the_same_key_of_two_principals_is_two_keys_and_of_one_survives_its_rotation(
    start_service: StartService,
) -> None:
    service = await start_service(auth="keys")
    ann = await make_key(service.database_url, EVERYTHING_GRANTED)
    bob = await make_key(service.database_url, new_grants(publish=EVERY, read=EVERY))
    await known(service.url, ann.secret, bob.secret)
    key = str(uuid4())
    async with new_client(service.url, ann.secret) as as_ann, new_client(service.url, bob.secret) as as_bob:
        first, other = await publish(as_ann, key, 201), await publish(as_bob, key, 201)
        assert not set(first) & set(other)
        rotated = (await as_ann.post(f"/v1/keys/{ann.key.id}/rotate", json={})).json()["secret"]
    await known(service.url, rotated)
    async with new_client(service.url, rotated) as again:
        assert await publish(again, key, 200) == first


async def test_ids_of_a_key_depend_on_a_secret_of_the_log(start_service: StartService, databases: Databases) -> None:
    """Two logs give one key different ids, and neither are those that anybody could compute."""
    key = str(uuid4())
    found: list[str] = []
    for _ in range(2):
        url = await asyncio.to_thread(databases.create)
        await asyncio.to_thread(run_sql, url, NEW_SECRET)  # a database of a test is a copy
        service = await start_service(database_url=url)
        async with new_client(service.url) as client:
            found += await publish(client, key, 201)
    assert len(set(found)) == 4
    guessed = hmac.digest(b"", b"0\x00anybody\x00" + key.encode(), "sha256").hex()
    assert not any(id.replace("-", "").startswith(guessed[:10]) for id in found)
