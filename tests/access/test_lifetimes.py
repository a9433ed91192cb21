"""What was lent ends with what it came from, and nobody gives longer than he has."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from factwire.auth.keys import create, revoke, rotate
from factwire.domain.grants import Grants
from factwire.store.connection import Connection
from tests.access.keys import EVERYTHING_GRANTED, TESTER, bearer, known, make_key, new_client, new_grants
from tests.conftest import StartService
from tests.support.builders import new_fact, publication
from tests.support.issuer import AUDIENCE, IssuerServer, new_key
from tests.support.service import ServiceProcess

ALL = {"include": ["*"]}
OWN = {"sec-fetch-site": "same-origin"}
NEVER = None


async def with_tokens(start_service: StartService, issuer: IssuerServer, **settings: object) -> ServiceProcess:
    tokens = {"auth": "keys,jwt", "jwt_issuer": issuer.url, "jwt_audience": AUDIENCE, "jwt_grants_claim": "grants"}
    return await start_service(**tokens | {"jwt_refresh_seconds": 1} | settings)


def cookie_of(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 201, answer.text
    return {"cookie": f"factwire={answer.cookies['factwire']}", **OWN}


async def begun(service: ServiceProcess, credentials: dict[str, str]) -> dict[str, str]:
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        return cookie_of(await client.post("/v1/session", headers=credentials))


async def becomes_401(service: ServiceProcess, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client, asyncio.timeout(40):
        while (await client.get("/v1/facts", headers=headers)).status_code != 401:
            await asyncio.sleep(0.2)


@asynccontextmanager
async def following(service: ServiceProcess, query: str, **headers: str) -> AsyncIterator[httpx.Response]:
    """A stream that is open: its first event has arrived."""
    async with (
        httpx.AsyncClient(base_url=service.url, verify=False, timeout=60) as client,
        client.stream("GET", f"/v1/stream?{query}", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        yield answer


async def end_of(stream: httpx.Response) -> str:
    async with asyncio.timeout(40):
        return "".join([part async for part in stream.aiter_text()])


async def test_what_a_withdrawn_signing_key_has_opened_ends(start_service: StartService, issuer: IssuerServer) -> None:
    """Its tokens, their sessions and streams, and the tickets of those. The other key's go on."""
    issuer.keys.append(new_key("ES256", "second"))
    service = await with_tokens(start_service, issuer)
    grants = {"read": ALL, "publish": ALL}
    stolen = bearer(issuer.token(issuer.keys[0], grants=grants, exp=int(time.time()) + 86_400))
    kept = bearer(issuer.token(issuer.keys[1], grants=grants))
    sessions = [await begun(service, each) for each in (stolen, kept)]
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        ticket = (await client.post("/v1/tickets", headers=sessions[0])).json()["ticket"]
    async with following(service, "", **stolen) as of_token, following(service, f"ticket={ticket}") as of_ticket:
        del issuer.keys[0]
        await becomes_401(service, stolen)
        await becomes_401(service, sessions[0])
        for stream in (of_token, of_ticket):
            assert "urn:factwire:problem:unauthenticated" in await end_of(stream)
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        for headers in (kept, sessions[1]):
            assert (await client.get("/v1/facts", headers=headers)).status_code == 200


async def test_a_session_of_a_token_ends_where_the_settings_grant_something_else(
    start_service: StartService, issuer: IssuerServer, fresh_database_url: str
) -> None:
    """Also where it is shown to a process with other settings while the one that began it still runs."""
    mapping = {"role": {"clerk": {"read": {"include": ["payroll", "shop"]}}}}
    before = await with_tokens(
        start_service, issuer, jwt_grants=json.dumps(mapping), database_url=fresh_database_url, jwt_grants_claim="none"
    )
    token = bearer(issuer.token(role="clerk"))
    session = await begun(before, token)
    mapping["role"]["clerk"]["read"]["include"] = ["shop"]
    after = await with_tokens(
        start_service, issuer, jwt_grants=json.dumps(mapping), database_url=fresh_database_url, jwt_grants_claim="none"
    )
    async with httpx.AsyncClient(verify=False) as client:
        asked = [await client.get(f"{each.url}/v1/facts", headers=session) for each in (before, after)]
        assert [answer.status_code for answer in asked] == [200, 401]
        assert (await client.get(f"{after.url}/v1/facts", headers=token)).status_code == 200


async def test_the_end_of_a_session_ends_what_came_from_it(start_service: StartService) -> None:
    """Tickets, sessions begun with its cookie, theirs in turn, and the streams of them all; nothing of others."""
    service = await start_service(auth="keys")
    made = await make_key(service.database_url, EVERYTHING_GRANTED)
    await known(service.url, made.secret)
    root, other = [await begun(service, bearer(made.secret)) for _ in range(2)]
    child = await begun(service, root)
    grandchild = await begun(service, child)
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        tickets = [
            (await client.post("/v1/tickets", headers=each)).json()["ticket"]
            for each in (root, root, grandchild, other)
        ]
        async with (
            following(service, f"ticket={tickets[0]}") as one,
            following(service, f"ticket={tickets[2]}") as two,
            following(service, "", **child) as three,
        ):
            assert (await client.delete("/v1/session", headers=root)).status_code == 200
            for each in (root, child, grandchild):
                assert (await client.get("/v1/facts", headers=each)).status_code == 401
            for stream in (one, two, three):
                assert "urn:factwire:problem:unauthenticated" in await end_of(stream)
        assert (await client.get(f"/v1/stream?ticket={tickets[1]}")).status_code == 401
        assert (await client.get("/v1/facts", headers=other)).status_code == 200
        async with following(service, f"ticket={tickets[3]}"):
            pass


async def ending_key(database_url: str, *, seconds: float, grants: Grants = EVERYTHING_GRANTED) -> str:
    connection = await asyncpg.connect(database_url)
    try:
        ends = datetime.now(UTC) + timedelta(seconds=seconds)
        return (await create(connection, TESTER, name="ends soon", grants=grants, expires_at=ends)).secret
    finally:
        await connection.close()


def key_body(**members: Any) -> dict[str, Any]:
    return {"name": "made", "grants": {"read": {"include": ["shop"]}}, **members}


@pytest.mark.parametrize("by", ["key", "session of the key", "token", "session of the token"])
async def test_nobody_gives_longer_than_he_has(start_service: StartService, issuer: IssuerServer, by: str) -> None:
    service = await with_tokens(start_service, issuer)
    lasting = await make_key(service.database_url, EVERYTHING_GRANTED, name="lasting")
    if "key" in by:
        maker = bearer(await ending_key(service.database_url, seconds=300))
        await known(service.url, maker["authorization"].partition(" ")[2])
    else:
        grants = {"manage": ALL, "read": ALL, "publish": ALL}
        maker = bearer(issuer.token(grants=grants))
    if "session" in by:
        maker = await begun(service, maker)
    beyond = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    within = (datetime.now(UTC) + timedelta(seconds=60)).isoformat()
    async with httpx.AsyncClient(base_url=service.url, verify=False, headers=maker) as client:
        for refused in (key_body(expires_at=beyond), key_body(expires_at=NEVER)):
            answer = await client.post("/v1/keys", json=refused)
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:factwire:problem:forbidden")
            assert "outlive" in answer.json()["detail"]
        answer = await client.post(f"/v1/keys/{lasting.key.id}/rotate", json={})
        assert answer.status_code == 403
        for taken in (key_body(expires_at=within), key_body()):
            answer = await client.post("/v1/keys", json=taken)
            assert answer.status_code == 201, answer.text
            ends = datetime.fromisoformat(answer.json()["expires_at"])
            assert ends < datetime.now(UTC) + timedelta(seconds=400)
            assert (await client.post(f"/v1/keys/{answer.json()['id']}/rotate", json={})).status_code == 200


async def test_a_session_of_a_lasting_key_makes_lasting_keys(start_service: StartService) -> None:
    """The session ends, but not what it stands for."""
    service = await start_service(auth="keys")
    made = await make_key(service.database_url, EVERYTHING_GRANTED)
    await known(service.url, made.secret)
    session = await begun(service, bearer(made.secret))
    async with httpx.AsyncClient(base_url=service.url, verify=False, headers=session) as client:
        for body in (key_body(), key_body(expires_at=NEVER)):
            answer = await client.post("/v1/keys", json=body)
            assert (answer.status_code, answer.json()["expires_at"]) == (201, None)


async def test_to_hear_of_erasures_is_a_right_of_its_own(start_service: StartService) -> None:
    """`read` of the namespace by its name. No pattern gives it, and whoever has it manages nothing."""
    key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    service = await start_service(auth="keys", master_key=key)
    manager = await make_key(service.database_url, EVERYTHING_GRANTED)
    hearer = await make_key(service.database_url, new_grants(read=(["factwire", "shop"], [])))
    reader = await make_key(service.database_url, new_grants(read=(["*"], []), manage=(["shop"], [])))
    await known(service.url, manager.secret, hearer.secret, reader.secret)
    async with new_client(service.url, manager.secret) as client:
        fact = new_fact(namespace="shop", data_subject="customer-7")
        assert (await client.post("/v1/facts", json=publication(fact))).status_code == 201
        assert (await client.delete("/v1/data-subjects/customer-7")).status_code == 200
    query = {"namespace": "factwire", "type": "DataSubjectErased"}
    async with new_client(service.url, hearer.secret) as client:
        heard = (await client.get("/v1/facts", params=query)).json()["facts"]
        assert [fact["payload"]["data_subject"] for fact in heard] == ["customer-7"]
        for method, path in (
            ("DELETE", f"/v1/keys/{manager.key.id}"),
            ("GET", "/v1/keys"),
            ("DELETE", "/v1/data-subjects/customer-8"),
        ):
            assert (await client.request(method, path)).status_code == 403, path
    async with new_client(service.url, reader.secret) as client:
        assert (await client.get("/v1/facts", params=query)).json()["facts"] == []
    for grants in (new_grants(read=(["*"], [])), new_grants(read=(["*"], []), manage=(["shop"], []))):
        assert not grants.cover(new_grants(read=(["factwire"], [])))
    assert EVERYTHING_GRANTED.cover(new_grants(read=(["factwire"], [])))
    assert new_grants(read=(["factwire"], [])).cover(new_grants(read=(["factwire"], [])))


async def test_the_age_of_a_cookie_is_that_of_the_settings_whatever_the_clocks_say(start_service: StartService) -> None:
    service = await start_service(auth="keys", session_seconds=3600)
    made = await make_key(service.database_url, EVERYTHING_GRANTED)
    await known(service.url, made.secret)
    async with new_client(service.url, made.secret) as client:
        assert "Max-Age=3600;" in (await client.post("/v1/session")).headers["set-cookie"]


async def test_what_is_kept_out_of_reading_cannot_be_given(start_service: StartService) -> None:
    """Also where nothing is included: to manage `factwire` lets its reading in."""
    service = await start_service(auth="keys")
    manages = {"manage": {"include": ["factwire"]}}
    kept_out = new_grants(manage=(["factwire"], []), read=(["*"], ["factwire"]))
    maker = await make_key(service.database_url, kept_out)
    await known(service.url, maker.secret)
    async with new_client(service.url, maker.secret) as client:
        refused = await client.post("/v1/keys", json={"name": "made", "grants": manages})
        assert refused.status_code == 403
        without = {**manages, "read": {"exclude": ["factwire"]}}
        made = await client.post("/v1/keys", json={"name": "made", "grants": without})
        assert (made.status_code, made.json()["grants"]) == (201, without)
    await known(service.url, made.json()["secret"])
    async with new_client(service.url, made.json()["secret"]) as client:
        assert (await client.get("/v1/facts?namespace=factwire")).json()["facts"] == []
        assert (await client.post("/v1/keys", json={"name": "further", "grants": manages})).status_code == 403


async def revoke_with(connection: Connection, id: str) -> None:
    await revoke(connection, TESTER, id)


async def rotate_out(connection: Connection, id: str) -> None:
    await rotate(connection, TESTER, id, grace_seconds=0)


async def let_end(connection: Connection, id: str) -> None:
    await rotate(connection, TESTER, id, grace_seconds=60)


@pytest.mark.parametrize(("ending", "refusal"), [(revoke_with, 401), (rotate_out, 401), (let_end, 403)])
async def test_a_secret_that_has_ended_makes_nothing_that_lasts(
    start_service: StartService, ending: Any, refusal: int
) -> None:
    """Not even where the process has yet to hear of it: the database is asked within the change."""
    service = await start_service(auth="keys")
    maker = await make_key(service.database_url, EVERYTHING_GRANTED)
    other = await make_key(service.database_url, EVERYTHING_GRANTED)
    await known(service.url, maker.secret, other.secret)
    session = await begun(service, bearer(maker.secret))
    connection = await asyncpg.connect(service.database_url)
    service.stop()  # it hears of nothing
    await ending(connection, maker.key.id)
    service.cont()
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        asked = [
            client.post(path, json=body, headers=headers)
            for headers in (bearer(maker.secret), session)
            for path, body in (("/v1/keys", key_body(expires_at=NEVER)), (f"/v1/keys/{other.key.id}/rotate", {}))
        ]
        answers = await asyncio.gather(*asked)
    assert {answer.status_code for answer in answers} <= {401, refusal}
    assert await connection.fetchval("select count(*) from factwire.keys") == 2
    assert await connection.fetchval("select count(*) from factwire.key_secrets where key_id = $1", other.key.id) == 1
    await connection.close()
