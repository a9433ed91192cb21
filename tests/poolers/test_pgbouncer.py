"""Through PgBouncer in transaction mode: everything works with `pgbouncer=true`, and without it the remedy is named."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest

from tests.conftest import StartService
from tests.e2e.wire import streaming
from tests.poolers.conftest import Pooled
from tests.support.builders import new_fact, publication
from tests.support.service import ROOT, clean_environment, settings_of

pytestmark = pytest.mark.poolers

PUBLISHERS = 8
PUBLISHES = 40


def command(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "factwire", *arguments],
        cwd=ROOT,
        env=clean_environment() | settings_of(**settings) | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def through(pooled: Pooled) -> str:
    return f"{pooled.url}?pgbouncer=true"


@pytest.mark.parametrize("listening", [True, False], ids=["with LISTEN", "by polling"])
async def test_everything_works_through_it(pooled: Pooled, start_service: StartService, listening: bool) -> None:
    assert command("migrate", database_url=through(pooled)).returncode == 0
    service = await start_service(
        database_url=through(pooled), listen_url=pooled.direct_url if listening else None, auth="none"
    )
    fact = new_fact(aggregate_ids=["order-1"], namespace="shop")
    condition = {"fail_if_match": [{"aggregate_ids": ["order-1"]}]}
    async with (
        streaming(service.url) as stream,
        httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client,
    ):
        await stream.read_until(lambda body: b"caught-up" in body)
        assert (await client.post("/v1/facts", json=publication(fact))).status_code == 201
        assert (await client.post("/v1/facts", json=publication(fact))).status_code == 200
        refused = await client.post("/v1/facts", json=publication(condition=condition))
        assert refused.json()["type"] == "urn:factwire:problem:condition-failed"
        await stream.read_until(lambda body: fact["id"].encode() in body)
        for path in ("/v1/facts?aggregate_id=order-1", f"/v1/facts/{fact['id']}", "/v1/facts/export", "/v1/namespaces"):
            answer = await client.get(path)
            assert (answer.status_code, "shop" in answer.text) == (200, True)
        lines = b"\n".join(b'{"namespace":"shop","type":"OrderPlaced","payload":1}' for _ in range(2500))
        imported = await client.post(
            "/v1/facts/import", content=lines, headers={"content-type": "application/x-ndjson"}
        )
        assert imported.json()["result"]["published"] == 2500
        assert (await client.get("/v1/position?at=2100-01-01T00:00:00Z")).json()["position"] == 2501
        ready = (await client.get("/readyz")).json()
        assert (ready["ready"], ready["database"]) == (True, "reachable")
    assert "Traceback" not in service.log
    found = command("doctor", database_url=through(pooled), listen_url=pooled.direct_url, url=service.url, auth="none")
    assert [line for line in found.stdout.splitlines() if line.startswith("wrong")] == []
    assert "no flaws" in command("verify", database_url=pooled.direct_url).stdout


async def test_two_services_under_load_lose_nothing_and_doubt_nothing(
    pooled: Pooled, start_service: StartService
) -> None:
    assert command("migrate", database_url=through(pooled)).returncode == 0
    services = [await start_service(database_url=through(pooled), auth="none") for _ in range(2)]
    published: list[str] = []

    async def publish(number: int) -> None:
        url = services[number % 2].url
        async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as client:
            for _ in range(PUBLISHES):
                fact = new_fact(id=str(uuid4()), aggregate_ids=[f"order-{number}"])
                condition = {"fail_if_match": [{"aggregate_ids": [str(uuid4())]}]}
                answer = await client.post("/v1/facts", json=publication(fact, condition=condition))
                assert answer.status_code == 201, answer.text
                published.append(fact["id"])
                page = await client.get("/v1/facts", params={"aggregate_id": f"order-{number}"})
                assert page.json()["facts"][-1]["id"] == fact["id"]

    await asyncio.gather(*(publish(number) for number in range(PUBLISHERS)))
    async with httpx.AsyncClient(base_url=services[0].url, timeout=60, verify=False) as client:
        exported = (await client.get("/v1/facts/export")).text.splitlines()
    assert len(published) == len(exported) == PUBLISHERS * PUBLISHES
    assert all(any(id in line for line in exported) for id in published[:20])
    assert "no flaws" in command("verify", database_url=pooled.direct_url).stdout


SHOWN = (
    "jit",
    "statement_timeout",
    "lock_timeout",
    "default_transaction_isolation",
    "idle_in_transaction_session_timeout",
)


async def test_nothing_of_ours_stays_in_a_session_that_is_somebody_elses_next(
    pooled: Pooled, start_service: StartService
) -> None:
    assert command("migrate", database_url=through(pooled)).returncode == 0
    direct = await asyncpg.connect(pooled.direct_url)
    expected = [await direct.fetchval(f"show {name}") for name in SHOWN]
    await direct.close()
    service = await start_service(database_url=through(pooled), auth="none")
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        for _ in range(20):
            assert (await client.post("/v1/facts", json=publication())).status_code == 201
            assert (await client.get("/v1/facts")).status_code == 200
    for _ in range(20):
        stranger = await asyncpg.connect(pooled.url, statement_cache_size=0)
        async with stranger.transaction():
            assert [await stranger.fetchval(f"show {name}") for name in SHOWN] == expected
            held = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
            assert await stranger.fetchval(held) == 0
        await stranger.close()


async def test_without_the_option_the_remedy_is_named(pooled: Pooled, tmp_path: Path) -> None:
    found = command("doctor", database_url=pooled.url)
    assert found.returncode == 1
    assert "add pgbouncer=true to FACTWIRE_DATABASE_URL" in found.stdout


def test_what_needs_a_session_of_its_own_says_so(pooled: Pooled) -> None:
    for arguments in (("verify",), ("epoch", "keep"), ("erasures", "export")):
        done = command(*arguments, database_url=through(pooled))
        assert done.returncode == 1
        assert "needs a session of its own" in done.stderr
