"""The rights that serving needs, and no more: a role that owns nothing serves a log that another role has migrated."""

import asyncpg
import httpx

from tests.builders import new_facts, publication
from tests.conftest import StartService
from tests.e2e.wire import streaming, until


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


async def counted_through(url: str, position: int) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval("select through = $1 from factwire.counted", position))
    finally:
        await connection.close()
