"""What a process tells of its database: not only its tail counts, and the process stays ready in any case."""

import asyncio
from typing import Any

import httpx

from factwire.composition.components import build
from factwire.settings import Settings
from tests.conftest import StartService
from tests.integration.relay import relaying
from tests.support.builders import publication
from tests.support.postgres import run_sql
from tests.support.waiting import until

NOTICED_SECONDS = 8  # a statement that hangs is given up after 15 s


async def told(client: httpx.AsyncClient, database: str) -> bool:
    response = await client.get("/readyz")
    assert response.status_code == 200
    gauge = f"factwire_database_reachable {1.0 if database == 'reachable' else 0.0}\n"
    return response.json()["database"] == database and gauge in (await client.get("/metrics")).text


def test_before_the_first_look_the_database_is_not_called_unreachable() -> None:
    given: dict[str, Any] = {"database_url": "postgresql://127.0.0.1/log"}
    context, _ = build(Settings(**given))
    assert context.database_state == "starting"


async def test_a_role_that_may_open_no_more_connections_does_not_look_well(
    serving_url: str, fresh_database_url: str, start_service: StartService
) -> None:
    service = await start_service(database_url=serving_url)
    role = httpx.URL(serving_url).username
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        await until(lambda: told(client, "reachable"))
        await asyncio.to_thread(run_sql, fresh_database_url, f"alter role {role} connection limit 1")
        assert (await client.post("/v1/facts", json=publication())).status_code == 503
        assert await told(client, "unreachable")
        await asyncio.to_thread(run_sql, fresh_database_url, f"alter role {role} connection limit -1")
        assert (await client.post("/v1/facts", json=publication())).status_code == 201
        await until(lambda: told(client, "reachable"))


async def test_a_database_that_hangs_does_not_look_well(fresh_database_url: str, start_service: StartService) -> None:
    async with relaying(fresh_database_url) as (relay, url):
        service = await start_service(database_url=url)
        async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
            await until(lambda: told(client, "reachable"))
            relay.room = 0
            await until(lambda: told(client, "unreachable"), seconds=NOTICED_SECONDS)
            relay.resumed.set()
            await until(lambda: told(client, "reachable"))
