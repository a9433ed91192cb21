"""How many types and namespaces there may be: what is beyond a limit is told by its name, and nothing is half-done."""

from __future__ import annotations

import asyncio

import httpx

from tests.conformance.wire import fact, problem
from tests.conftest import StartService

LIMITS = {"namespace_types_max": 3, "principal_namespaces_max": 2}


async def publish(client: httpx.AsyncClient, *facts: object) -> httpx.Response:
    return await client.post("/v1/facts", json={"facts": list(facts)})


async def test_a_namespace_has_no_more_types_than_its_limit(start_service: StartService) -> None:
    service = await start_service(**LIMITS)
    async with httpx.AsyncClient(base_url=service.url, timeout=20, verify=False) as client:
        assert (await publish(client, fact("a", "A"), fact("a", "B"))).status_code == 201
        told = problem(await publish(client, fact("a", "A"), fact("a", "C"), fact("a", "D")), 422, "limit-exceeded")
        assert (told["limit"], told["maximum"]) == ("namespace_types_max", 3)
        assert told["errors"][0]["pointer"] == "/facts"
        assert told["detail"] == "/facts: there are at most 3 types in a namespace; these facts are of a"
        assert (await client.get("/v1/position")).json()["head"] == 2
        assert [each["type"] for each in (await client.get("/v1/types?namespace=a")).json()["types"]] == ["A", "B"]
        assert (await publish(client, fact("a", "A", version=2))).status_code == 201
        problem(await publish(client, fact("a", "A", version=3)), 422, "limit-exceeded")
        assert (await publish(client, fact("a", "B"), fact("a", "A"))).status_code == 201


async def test_a_principal_begins_no_more_namespaces_than_the_limit(start_service: StartService) -> None:
    service = await start_service(**LIMITS)
    async with httpx.AsyncClient(base_url=service.url, timeout=20, verify=False) as client:
        answers = await asyncio.gather(*[publish(client, fact(f"n{number}")) for number in range(8)])
        assert sorted(answer.status_code for answer in answers) == [201] * 2 + [422] * 6
        for answer in answers:
            if answer.status_code == 422:
                assert answer.json()["limit"] == "principal_namespaces_max"
        listed = (await client.get("/v1/namespaces")).json()["namespaces"]
        assert len(listed) == 2
        assert (await publish(client, fact(listed[0]["namespace"], "Other"))).status_code == 201


async def test_a_retry_of_what_is_stored_is_answered_whatever_the_limits_are_by_now(
    start_service: StartService,
) -> None:
    service = await start_service(**LIMITS)
    async with httpx.AsyncClient(base_url=service.url, timeout=20, verify=False) as client:
        whole = {"id": "0193595a-7c5f-7e1a-8f31-2f6a3c7d9b10", **fact("a", "A")}
        first = await publish(client, whole)
        await publish(client, fact("a", "B"), fact("a", "C"))
        again = await publish(client, whole)
        assert (first.status_code, again.status_code) == (201, 200)


async def test_an_import_ends_at_the_line_that_is_beyond_a_limit(start_service: StartService) -> None:
    service = await start_service(**LIMITS)
    async with httpx.AsyncClient(base_url=service.url, timeout=20, verify=False) as client:
        lines = [f'{{"namespace":"n{number}","type":"A","payload":1}}' for number in range(4)]
        answer = await client.post(
            "/v1/facts/import", content="\n".join(lines), headers={"content-type": "application/x-ndjson"}
        )
        last = answer.text.splitlines()[-1]
        assert "principal_namespaces_max" in last
