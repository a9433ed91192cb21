"""Sessions: a cookie for the pages of the service itself, good in every process until it ends."""

import asyncio
import time

import httpx

from tests.conftest import StartService
from tests.e2e.test_tickets import ALL, client_of, start
from tests.support.builders import publication
from tests.support.issuer import IssuerServer

OWN = {"sec-fetch-site": "same-origin"}


async def test_a_session_is_good_in_every_process_until_it_is_ended(
    start_service: StartService, issuer: IssuerServer
) -> None:
    services = [await start(start_service, issuer) for _ in range(2)]
    async with client_of(services[0], issuer) as client:
        begun = await client.post("/v1/session")
        assert begun.status_code == 201
        assert begun.json()["principal"] == "jwt:127.0.0.1:alice"
        assert begun.headers["set-cookie"].startswith("factwire=fws_")
        cookie = {"cookie": f"factwire={begun.cookies['factwire']}"}
    for service in services:
        async with httpx.AsyncClient(base_url=service.url, headers=cookie, verify=False) as browser:
            assert (await browser.get("/v1/facts")).status_code == 200
            assert (await browser.post("/v1/facts", json=publication(), headers=OWN)).status_code == 201
    async with (
        httpx.AsyncClient(base_url=services[0].url, headers=cookie, verify=False, timeout=60) as browser,
        browser.stream("GET", f"{services[1].url}/v1/stream") as stream,
    ):
        assert stream.status_code == 200
        ended = await browser.delete("/v1/session", headers=OWN)
        assert ended.status_code == 200
        assert "Max-Age=0" in ended.headers["set-cookie"]
        async with asyncio.timeout(60):
            assert b"urn:factwire:problem:unauthenticated" in await stream.aread()
    for service in services:
        async with httpx.AsyncClient(base_url=service.url, headers=cookie, verify=False) as browser:
            assert (await browser.get("/v1/facts")).status_code == 401


async def test_beginning_one_session_too_many_ends_the_one_that_would_end_first(
    start_service: StartService, issuer: IssuerServer
) -> None:
    services = [await start(start_service, issuer, principal_sessions_max=2) for _ in range(2)]
    cookies = []
    for number, sub in enumerate(("alice", "alice, 2", 'alice"', "alice", "alice")):
        # Neither other grants nor another end of the token make another principal.
        claims = {
            "sub": sub,
            "grants": {"read": {"include": [f"shop-{number}"]}},
            "exp": int(time.time()) + 600 + number,
        }
        async with client_of(services[number % 2], issuer, **claims) as client:
            begun = await client.post("/v1/session")
            assert begun.status_code == 201
            cookies.append({"cookie": f"factwire={begun.cookies['factwire']}"})
    for service in services:
        async with httpx.AsyncClient(base_url=service.url, verify=False) as browser:
            answers = [await browser.get("/v1/facts", headers=cookie) for cookie in cookies]
            assert [answer.status_code for answer in answers] == [401, 200, 200, 200, 200]


FOREIGN: tuple[dict[str, str], ...] = (
    {},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
)


async def test_no_other_page_changes_anything_with_the_cookie(
    start_service: StartService, issuer: IssuerServer
) -> None:
    service = await start(start_service, issuer)
    async with client_of(service, issuer) as client:
        cookie = {"cookie": f"factwire={(await client.post('/v1/session')).cookies['factwire']}"}
    async with httpx.AsyncClient(base_url=service.url, headers=cookie, verify=False) as browser:
        for headers in FOREIGN:
            refused = [
                await browser.post("/v1/facts", json=publication(), headers=headers),
                await browser.post("/v1/tickets", headers=headers),
                await browser.delete("/v1/session", headers=headers),
            ]
            assert [answer.status_code for answer in refused] == [403, 403, 403]
            assert refused[0].json()["type"].endswith("cross-origin")
        assert (await browser.get("/v1/position")).json()["position"] == 0
        own = await browser.post("/v1/facts", json=publication(), headers={"origin": service.url})
        assert own.status_code == 201


async def test_a_session_ends_by_itself_and_never_later_than_its_token(
    start_service: StartService, issuer: IssuerServer
) -> None:
    service = await start(start_service, issuer, session_seconds=1, jwt_leeway_seconds=0)
    async with client_of(service, issuer) as client:
        begun = await client.post("/v1/session")
    async with client_of(service, issuer, exp=int(time.time()) + 2, sub="bob") as client:
        short = await client.post("/v1/session")
    for session in (begun, short):
        cookie = {"cookie": f"factwire={session.cookies['factwire']}"}
        async with httpx.AsyncClient(base_url=service.url, headers=cookie, verify=False) as browser:
            async with asyncio.timeout(10):
                while (await browser.get("/v1/facts")).status_code != 401:
                    await asyncio.sleep(0.1)


async def test_behind_tls_the_cookie_is_secure_and_bound_to_the_host(
    start_service: StartService, issuer: IssuerServer
) -> None:
    service = await start(start_service, issuer)
    async with client_of(service, issuer) as client:
        begun = await client.post("/v1/session", headers={"host": "facts.example"})
        told = begun.headers["set-cookie"]
        assert told.startswith("__Host-factwire=fws_")
        assert {"Path=/", "HttpOnly", "SameSite=Strict", "Secure"} <= set(told.split("; "))
        assert "domain" not in told.lower()


async def test_authorization_wins_over_the_cookie(start_service: StartService, issuer: IssuerServer) -> None:
    service = await start(start_service, issuer)
    async with client_of(service, issuer) as client:
        cookie = f"factwire={(await client.post('/v1/session')).cookies['factwire']}"
        refused = await client.get("/v1/facts", headers={"cookie": cookie, "authorization": "Bearer nonsense"})
        assert refused.status_code == 401
    async with client_of(service, issuer, grants={"read": ALL}, sub="bob") as client:
        begun = await client.post("/v1/session", headers={"cookie": cookie})
        assert begun.json()["principal"] == "jwt:127.0.0.1:bob"
