"""How long an answer takes does not tell a reader of some namespaces how much others published about the same."""

import random
import time
from itertools import product

import asyncpg
import httpx
import pytest

from tests.access.keys import known, make_key, new_client, new_grants
from tests.conftest import StartService
from tests.integration.store import a_fact, append_alone

FOREIGN, ASKED = 4_000, 400
# How often an answer about the one takes longer than one about the other, of all pairs: a half, if time tells nothing.
# With so many of each, chance leaves 0.5 by more than 0.09 once in ten thousand times.
TELLS_NOTHING = 0.09
ABOUT = ("customer-42", "customer-43")  # of which others published FOREIGN facts, and none

pytestmark = [pytest.mark.floods, pytest.mark.timeout(180)]


@pytest.mark.parametrize("read", [["b"], ["b", "b.*"]], ids=["names", "patterns"])
async def test_time_tells_nothing_of_foreign_facts(
    start_service: StartService, fresh_database_url: str, read: list[str]
) -> None:
    service = await start_service(auth="keys")
    connection = await asyncpg.connect(fresh_database_url)
    for _ in range(0, FOREIGN, 1000):
        await append_alone(connection, *[a_fact(namespace="a", aggregate_ids=[ABOUT[0]]) for _ in range(1000)])
        await append_alone(connection, *[a_fact(namespace="a", aggregate_ids=["other"]) for _ in range(1000)])
    await append_alone(connection, *[a_fact(namespace="b", aggregate_ids=[each]) for each in ABOUT])
    await connection.close()
    key = (await make_key(service.database_url, new_grants(publish=(["b"], []), read=(read, [])))).secret
    await known(service.url, key)
    async with new_client(service.url, key, timeout=20) as client:
        for question in ("page", "newest", "condition", "stream"):
            share = await how_often_longer(client, question)
            print(f"\n{question} by {read}: about {ABOUT[0]} longer in {share:.1%} of all pairs")
            assert abs(share - 0.5) < TELLS_NOTHING, question


async def how_often_longer(client: httpx.AsyncClient, question: str) -> float:
    """Ask about both in turn, in an order by chance, and compare each time with each of the other."""
    seconds: dict[str, list[float]] = {about: [] for about in ABOUT}
    for number in range(ASKED):
        for about in random.sample(ABOUT, 2):
            began_at = time.perf_counter()
            await ask(client, question, about)
            if number >= ASKED // 10:  # the first warm what is cold
                seconds[about].append(time.perf_counter() - began_at)
    pairs = list(product(*seconds.values()))
    return sum(one > other for one, other in pairs) / len(pairs)


async def ask(client: httpx.AsyncClient, question: str, about: str) -> None:
    if question == "condition":
        condition = {"fail_if_match": [{"aggregate_ids": [about], "types": ["Never"]}]}
        fact = {"namespace": "b", "type": "T", "payload": None}
        response = await client.post("/v1/facts", json={"facts": [fact], "condition": condition})
    elif question == "stream":
        async with client.stream("GET", "/v1/stream", params={"aggregate_id": about}) as response:
            async for line in response.aiter_lines():
                if line == "event: caught-up":
                    break
    else:
        order = {"page": "asc", "newest": "desc"}[question]
        response = await client.get("/v1/facts", params={"aggregate_id": about, "order": order})
    assert response.status_code in (200, 201)
