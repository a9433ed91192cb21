"""The rights that serving needs, and no more: a role that owns nothing serves a log that another role has migrated."""

import asyncio

import asyncpg
import httpx
import pytest

from tests.conftest import StartService
from tests.e2e.wire import streaming
from tests.support.builders import new_facts, publication
from tests.support.postgres import run_sql
from tests.support.waiting import until


async def test_a_role_serves_with_usage_select_and_insert_alone(serving_url: str, start_service: StartService) -> None:
    service = await start_service(database_url=serving_url)
    facts = new_facts(3, aggregate_ids=["order-1"])
    condition = {"fail_if_match": [{"aggregate_ids": ["order-1"]}]}
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        published = await client.post("/v1/facts", json=publication(*facts, condition=condition))
        assert published.status_code == 201, published.text
        assert (await client.post("/v1/facts", json=publication(*facts))).status_code == 200
        refused = await client.post("/v1/facts", json=publication(condition=condition))
        assert refused.json()["type"] == "urn:factwire:problem:condition-failed"
        page = (await client.get("/v1/facts", params={"aggregate_id": "order-1"})).json()
        assert [fact["id"] for fact in page["facts"]] == [fact["id"] for fact in facts]
        assert (await client.get("/v1/namespaces")).json()["namespaces"][0]["facts"] == 3
        assert (await client.get("/v1/position", params={"at": "2100-01-01T00:00:00Z"})).json()["position"] == 3
    async with streaming(service.url) as stream:
        await stream.read_until(lambda body: b"caught-up" in body)
        assert stream.positions() == [1, 2, 3]
    await until(lambda: counted_through(serving_url, 3))
    assert "permission denied" not in service.log
    assert await service.terminate() == 0


@pytest.mark.parametrize(
    ("right", "told"),
    [
        ("insert on factwire.fact_tags", "grant insert on factwire.fact_tags to"),
        ("execute on all functions in schema factwire", "grant execute on all functions in schema factwire to"),
        ("usage on schema factwire", "grant usage on schema factwire to"),
    ],
)
async def test_a_right_that_is_missing_is_named_and_publishing_goes_on_once_it_is_there(
    serving_url: str, fresh_database_url: str, start_service: StartService, right: str, told: str
) -> None:
    service = await start_service(database_url=serving_url)
    role = httpx.URL(serving_url).username
    await asyncio.to_thread(run_sql, fresh_database_url, f"revoke {right} from {role}, public")
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        for _ in range(5):
            refused = await client.post("/v1/facts", json=publication())
            assert (refused.status_code, refused.json()["type"]) == (503, "urn:factwire:problem:unavailable")
        lines = [line for line in service.log.splitlines() if "publishes were refused" in line]
        assert [f"{told} {role}" in line for line in lines] == [True]
        assert "Traceback" not in service.log
        await asyncio.to_thread(run_sql, fresh_database_url, f"grant {right} to {role}")
        assert (await client.post("/v1/facts", json=publication())).status_code == 201
    await asyncio.to_thread(run_sql, fresh_database_url, f"revoke {right} from {role}")


async def counted_through(url: str, position: int) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval("select through = $1 from factwire.counted", position))
    finally:
        await connection.close()
