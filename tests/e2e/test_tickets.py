"""Tickets: each opens one stream of one query once, for whoever asked for it, at any process."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.conftest import StartService
from tests.support.builders import new_fact, publication
from tests.support.issuer import AUDIENCE, IssuerServer
from tests.support.postgres import run_sql
from tests.support.service import ROOT, ServiceProcess, clean_environment
from tests.support.waiting import until

ALL = {"include": ["*"]}


async def start(start_service: StartService, issuer: IssuerServer, **settings: object) -> ServiceProcess:
    tokens = {"auth": "jwt", "jwt_issuer": issuer.url, "jwt_audience": AUDIENCE, "jwt_grants_claim": "grants"}
    return await start_service(**tokens | settings)


@asynccontextmanager
async def client_of(service: ServiceProcess, issuer: IssuerServer, **claims: Any) -> AsyncIterator[httpx.AsyncClient]:
    token = issuer.token(**({"grants": {"read": ALL, "publish": ALL}} | claims))
    async with httpx.AsyncClient(
        base_url=service.url, headers={"authorization": f"Bearer {token}"}, verify=False, timeout=20
    ) as client:
        yield client


async def ticket_for(client: httpx.AsyncClient, query: str = "", **arguments: Any) -> str:
    answer = await client.post(f"/v1/tickets{query}", **arguments)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json()["ticket"])


async def opened(url: str, query: str) -> tuple[int, str]:
    """The status of a stream, and its first event or the problem."""
    async with (
        httpx.AsyncClient(verify=False, timeout=20) as anybody,
        anybody.stream("GET", f"{url}/v1/stream?{query}") as answer,
    ):
        text = ""
        async for part in answer.aiter_text():
            text += part
            if "\n\n" in text:
                break
        return answer.status_code, text


async def test_a_ticket_opens_one_stream_once(start_service: StartService, issuer: IssuerServer) -> None:
    service = await start(start_service, issuer)
    async with client_of(service, issuer) as client:
        assert (await client.post("/v1/facts", json=publication(new_fact(namespace="shop")))).status_code == 201
        ticket = await ticket_for(client, "?namespace=shop")
    status, text = await opened(service.url, f"namespace=shop&ticket={ticket}")
    assert status == 200
    assert "id: 1:1" in text
    status, text = await opened(service.url, f"namespace=shop&ticket={ticket}")
    assert status == 401
    assert "urn:factwire:problem:unauthenticated" in text
    assert ticket not in text


async def test_of_many_processes_and_attempts_at_once_exactly_one_gets_the_stream(
    start_service: StartService, issuer: IssuerServer
) -> None:
    services = [await start(start_service, issuer) for _ in range(2)]
    async with client_of(services[0], issuer) as client:
        for _ in range(5):
            ticket = await ticket_for(client)
            attempts = (opened(services[number % 2].url, f"ticket={ticket}") for number in range(20))
            statuses = [status for status, _ in await asyncio.gather(*attempts)]
            assert sorted(statuses) == [200] + 19 * [401]


async def test_a_ticket_is_for_queries_that_ask_for_the_same(start_service: StartService, issuer: IssuerServer) -> None:
    service = await start(start_service, issuer)
    async with client_of(service, issuer) as client:
        for asked, opens in (
            ("?namespace=a&namespace=b&meta=k:v", "meta=k:v&namespace=b&namespace=a"),
            ("?namespace=a&after=head", "namespace=a&after=start&heartbeat=3"),
            ("?query=%7B%22items%22:[%7B%22types%22:[%22T%22]%7D]%7D", "type=T"),
            ("", ""),
        ):
            status, _ = await opened(service.url, f"{opens}&ticket={await ticket_for(client, asked)}")
            assert status == 200


async def test_the_query_may_be_the_body(start_service: StartService, issuer: IssuerServer) -> None:
    service = await start(start_service, issuer)
    body = {"items": [{"namespaces": ["a"]}, {"types": ["T"]}]}
    async with client_of(service, issuer) as client:
        ticket = await ticket_for(client, json=body)
        query = '{"items":[{"types":["T"]},{"namespaces":["a"]}]}'
        assert (await opened(service.url, f"query={query}&ticket={ticket}"))[0] == 200
        both = await client.post("/v1/tickets?namespace=a", json=body)
        assert both.status_code == 422


async def test_a_ticket_for_another_query_opens_nothing_and_is_used_up(
    start_service: StartService, issuer: IssuerServer
) -> None:
    service = await start(start_service, issuer)
    for asked, opens in (("?namespace=a", "namespace=b"), ("?namespace=a", ""), ("", "namespace=a")):
        async with client_of(service, issuer) as client:
            ticket = await ticket_for(client, asked)
        assert (await opened(service.url, f"{opens}&ticket={ticket}"))[0] == 401
        assert (await opened(service.url, f"{asked[1:]}&ticket={ticket}"))[0] == 401


async def test_a_ticket_that_nobody_used_in_time_opens_nothing_and_is_forgotten(
    start_service: StartService, issuer: IssuerServer
) -> None:
    service = await start(start_service, issuer, ticket_seconds=0.3)
    async with client_of(service, issuer) as client:
        ticket = await ticket_for(client)
        await asyncio.sleep(0.4)  # the time for which it holds
        assert (await opened(service.url, f"ticket={ticket}"))[0] == 401
        await ticket_for(client)
        await asyncio.to_thread(until_empty, service.database_url)


COPY_TICKETS = """
insert into factwire.tickets (digest, principal, query, expires_at)
select sha256(number::text::bytea), principal, query, expires_at + number * interval '1 microsecond'
  from factwire.tickets, generate_series(1, $1) as number
"""


async def test_one_ticket_too_many_ends_the_one_of_its_principal_that_would_end_first(
    start_service: StartService, issuer: IssuerServer
) -> None:
    service = await start(start_service, issuer)
    async with client_of(service, issuer) as alice, client_of(service, issuer, sub="bob") as bob:
        first = await ticket_for(alice)
        await asyncio.to_thread(run_sql, service.database_url, COPY_TICKETS, 999)
        of_bob, last = await ticket_for(bob), await ticket_for(alice)
        assert await asyncio.to_thread(tickets_kept, service.database_url) == 1001
    assert [(await opened(service.url, f"ticket={ticket}"))[0] for ticket in (first, of_bob, last)] == [401, 200, 200]


async def test_what_is_no_ticket_opens_nothing(start_service: StartService, issuer: IssuerServer) -> None:
    service = await start(start_service, issuer)
    for ticket in ("", "x", "fwt_", f"fwt_{'x' * 43}", f"fwt_{'é' * 43}", "x" * 5000):
        assert (await opened(service.url, f"ticket={ticket}"))[0] == 401


async def test_a_ticket_is_good_for_nothing_but_a_stream(start_service: StartService, issuer: IssuerServer) -> None:
    service = await start(start_service, issuer)
    async with client_of(service, issuer) as client, httpx.AsyncClient(base_url=service.url, verify=False) as anybody:
        ticket = await ticket_for(client)
        for path in ("/v1/facts", "/v1/position", "/v1/facts/export", "/v1/namespaces"):
            assert (await anybody.get(path, params={"ticket": ticket})).status_code == 401
        assert (await anybody.post("/v1/stream", params={"ticket": ticket}, json={})).status_code == 401
        assert (await anybody.post("/v1/tickets", params={"ticket": ticket})).status_code == 401
        assert (await anybody.get("/v1/facts", headers={"authorization": f"Bearer {ticket}"})).status_code == 401
    assert (await opened(service.url, f"ticket={ticket}"))[0] == 200


async def test_a_ticket_is_refused_for_what_its_stream_would_be(
    start_service: StartService, issuer: IssuerServer
) -> None:
    service = await start(start_service, issuer)
    async with client_of(service, issuer) as client:
        for query, code in (
            ("?after=1:999", "cursor-ahead"),
            ("?after=9:0", "cursor-forked"),
            ("?typ=T", "unknown-parameter"),
            ("?heartbeat=1", "malformed-parameter"),
            ("?after=9a5ffe4b-6a6c-4d9c-8a0e-3f2f2f0d7a55", "fact-not-found"),
        ):
            assert (await client.post(f"/v1/tickets{query}")).json()["type"].endswith(code)
    async with httpx.AsyncClient(base_url=service.url, verify=False) as anybody:
        assert (await anybody.post("/v1/tickets")).status_code == 401


async def test_the_stream_of_a_ticket_shows_what_its_owner_may_read_and_ends_with_his_credentials(
    start_service: StartService, issuer: IssuerServer
) -> None:
    service = await start(start_service, issuer, jwt_leeway_seconds=0)
    async with client_of(service, issuer) as client:
        facts = [new_fact(namespace=namespace) for namespace in ("secret", "shop")]
        assert (await client.post("/v1/facts", json=publication(*facts))).status_code == 201
    ends_at = time.time() + 4
    async with client_of(service, issuer, grants={"read": {"include": ["shop"]}}, exp=int(ends_at)) as client:
        ticket = await ticket_for(client)
    async with (
        httpx.AsyncClient(verify=False, timeout=70) as anybody,
        anybody.stream("GET", f"{service.url}/v1/stream?ticket={ticket}") as answer,
    ):
        text = (await answer.aread()).decode()
    assert time.time() < ends_at + 60
    assert re.findall(r"^data: .*\"namespace\":\"(\w+)\"", text, re.MULTILINE) == ["shop"]
    assert "urn:factwire:problem:unauthenticated" in text


async def test_revoking_a_key_ends_its_tickets_its_sessions_and_their_streams(
    start_service: StartService, issuer: IssuerServer
) -> None:
    service = await start(start_service, issuer, auth="keys,jwt")
    manager = keys_command(service, "create", "manager", "--manage", "*")
    secret = keys_command(service, "create", "page", "--read", "shop")
    id = secret.split("_")[1]
    own = {"authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(base_url=service.url, verify=False, timeout=70) as client:
        await until(lambda: succeeds(client, "/v1/facts", own))
        ticket, later = [(await client.post("/v1/tickets", headers=own)).json()["ticket"] for _ in range(2)]
        cookie = {"cookie": f"factwire={(await client.post('/v1/session', headers=own)).cookies['factwire']}"}
        client.cookies.clear()
        async with (
            client.stream("GET", "/v1/stream", params={"ticket": ticket}) as by_ticket,
            client.stream("GET", "/v1/stream", headers=cookie) as by_session,
        ):
            assert (by_ticket.status_code, by_session.status_code) == (200, 200)
            revoked = await client.delete(f"/v1/keys/{id}", headers={"authorization": f"Bearer {manager}"})
            assert revoked.status_code == 200
            async with asyncio.timeout(60):
                for stream in (by_ticket, by_session):
                    assert b"urn:factwire:problem:unauthenticated" in await stream.aread()
        assert (await opened(service.url, f"ticket={later}"))[0] == 401
        assert not await succeeds(client, "/v1/facts", cookie)


async def test_tickets_and_tokens_are_in_no_log_line_and_no_metric(
    start_service: StartService, issuer: IssuerServer
) -> None:
    service = await start(start_service, issuer, log_requests="true", log_format="json")
    async with client_of(service, issuer) as client:
        ticket = await ticket_for(client)
        for _ in range(2):
            await opened(service.url, f"ticket={ticket}")
        await opened(service.url, f"ticket={ticket}&ticket={ticket}")
        await opened(service.url, f"typ={ticket}&ticket={ticket}")
        session = await client.post("/v1/session")
        secrets = [ticket, str(client.headers["authorization"]).split()[1], session.cookies["factwire"]]
        told = service.log + (await client.get("/metrics")).text
    assert "/v1/stream" in service.log
    for secret in secrets:
        assert len(secret) > 40
        assert secret not in told


def keys_command(service: ServiceProcess, *arguments: str) -> str:
    command = [sys.executable, "-m", "factwire", "keys", *arguments]
    environment = clean_environment() | {"FACTWIRE_DATABASE_URL": service.database_url}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()


async def succeeds(client: httpx.AsyncClient, path: str, headers: dict[str, str]) -> bool:
    return (await client.get(path, headers=headers)).is_success


def until_empty(database_url: str) -> None:
    """Wait until no ticket is kept any more."""
    deadline = time.monotonic() + 20
    while tickets_kept(database_url):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def tickets_kept(database_url: str) -> int:
    kept: int = run_sql(database_url, "select count(*) from factwire.tickets where $1", True)[0][0]
    return kept
