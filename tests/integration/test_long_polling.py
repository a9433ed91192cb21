"""Long polls wait for the tail; they do not ask the database again and again."""

import asyncio

import httpx
import pytest

from tests.conftest import StartService
from tests.support.builders import new_fact, publication
from tests.support.postgres import run_sql

TRANSACTIONS = "select xact_commit::int from pg_stat_database where datname = current_database() and $1"


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_long_poll_without_a_match_waits_instead_of_asking(start_service: StartService, order: str) -> None:
    publishing = await start_service()
    async with httpx.AsyncClient(base_url=publishing.url, timeout=20, verify=False) as client:
        await client.post("/v1/facts", json=publication(new_fact()))
    service = await start_service(poll_seconds=10)  # its ring begins behind that fact
    async with httpx.AsyncClient(base_url=service.url, timeout=20, verify=False) as client:
        parameters: dict[str, str | float] = {"namespace": "absent", "order": order, "wait_seconds": 2.5}
        waiting = asyncio.create_task(client.get("/v1/facts", params=parameters))
        before = await asyncio.to_thread(run_sql, service.database_url, TRANSACTIONS, True)
        page = (await waiting).json()
        after = await asyncio.to_thread(run_sql, service.database_url, TRANSACTIONS, True)
    assert page["facts"] == []
    assert after[0][0] - before[0][0] < 100


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_long_poll_finds_the_first_match_behind_others(start_service: StartService, order: str) -> None:
    service = await start_service()
    async with httpx.AsyncClient(base_url=service.url, timeout=20, verify=False) as client:
        await client.post("/v1/facts", json=publication(new_fact()))
        parameters: dict[str, str | float] = {"namespace": "later", "order": order, "wait_seconds": 15}
        waiting = asyncio.create_task(client.get("/v1/facts", params=parameters))
        await client.post("/v1/facts", json=publication(new_fact()))
        match = new_fact(namespace="later")
        await client.post("/v1/facts", json=publication(match))
        page = (await waiting).json()
    assert [fact["id"] for fact in page["facts"]] == [match["id"]]
