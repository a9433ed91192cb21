"""The rights that docs/operations.md lists for a role that only serves are enough."""

import re
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import httpx
import pytest

from factwire.store.api_keys import note_uses
from factwire.store.schema.migrate import migrate
from tests.access.keys import EVERYTHING_GRANTED, known, make_key, new_client
from tests.conftest import StartService
from tests.support.builders import new_facts, publication
from tests.support.postgres import Databases, name_of, run_sql, url_as
from tests.support.service import ROOT

CHANGING = re.compile(r"^```sql\n(create role facts_owner.*?)^```", re.MULTILINE | re.DOTALL)
CONNECTING = re.compile(r"^```sql\n(revoke connect .*?)^```", re.MULTILINE | re.DOTALL)


async def test_the_documented_rights_are_enough_to_serve(start_service: StartService, serving_url: str) -> None:
    service = await start_service(database_url=serving_url)
    async with httpx.AsyncClient(base_url=service.url, timeout=20, verify=False) as client:
        facts = new_facts(3)
        assert (await client.post("/v1/facts", json=publication(*facts))).status_code == 201
        condition = {"fail_if_match": [{"types": ["OrderPlaced"], "namespaces": ["shop"]}]}
        assert (await client.post("/v1/facts", json=publication(condition=condition))).status_code == 409
        page = (await client.get("/v1/facts", params={"namespace": "shop"})).json()
        assert [fact["id"] for fact in page["facts"]] == [fact["id"] for fact in facts]
        assert (await client.get("/v1/namespaces")).status_code == 200
        assert (await client.get("/v1/position", params={"at": "2100-01-01T00:00:00Z"})).json()["position"] == 3
        ticket = (await client.post("/v1/tickets")).json()["ticket"]
        assert ticket
        assert (await client.post("/v1/session")).status_code == 201
        assert (await client.delete("/v1/session", headers={"sec-fetch-site": "same-origin"})).status_code == 200
    assert "denied" not in service.log


async def test_the_documented_rights_are_enough_to_manage_keys(start_service: StartService, serving_url: str) -> None:
    service = await start_service(database_url=serving_url, auth="keys")
    made = await make_key(serving_url, EVERYTHING_GRANTED)
    await known(service.url, made.secret)
    async with new_client(service.url, made.secret) as client:
        key = (await client.post("/v1/keys", json={"name": "n", "grants": {}})).json()
        assert (await client.post(f"/v1/keys/{key['id']}/rotate", json={"grace_seconds": 0})).status_code == 200
        assert (await client.delete(f"/v1/keys/{key['id']}")).status_code == 200
    connection = await asyncpg.connect(serving_url)
    await note_uses(connection, {made.key.id: datetime.now(UTC)})
    await connection.close()
    assert "denied" not in service.log


def test_the_documented_rights_to_connect_keep_others_out(fresh_database_url: str, serving_url: str) -> None:
    found = CONNECTING.search((ROOT / "docs" / "operations.md").read_text())
    assert found is not None
    role = urlsplit(serving_url).username
    statements = found[1].replace("database factwire", f'database "{name_of(fresh_database_url)}"')
    run_sql(fresh_database_url, statements.replace("to owner, app", "to current_user"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        run_sql(serving_url, "select 1")
    run_sql(fresh_database_url, statements.replace("owner, app", f"current_user, {role}"))
    run_sql(serving_url, "select 1")


def test_a_role_of_a_lease_owns_nothing_of_the_log(databases: Databases) -> None:
    """The documented statements, and a migration by the lease."""
    found = CHANGING.search((ROOT / "docs" / "operations.md").read_text())
    assert found is not None
    mark = uuid4().hex[:12]
    statements = re.sub(r"\b(facts_owner|lease_1)\b", rf"\1_{mark}", found[1])
    database = f"leased_{mark}"
    run_sql(databases.server_url, f"create database {database}")
    url = databases.url(database)
    try:
        run_sql(url, statements.replace("database factwire", f"database {database}").replace("…", "secret"))
        migrate(url_as(url, f"lease_1_{mark}", "secret"))
        owners = run_sql(
            url, "select distinct relowner::regrole::text from pg_class where relname = any ($1)", ["facts"]
        )
        assert [row[0] for row in owners] == [f"facts_owner_{mark}"]
        run_sql(url, f"drop owned by lease_1_{mark}; drop role lease_1_{mark}")
    finally:
        run_sql(databases.server_url, f"drop database {database} with (force)")
        run_sql(databases.server_url, f"drop role facts_owner_{mark}")
