"""Tickets and the cookie of a session, in a real browser."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.clients.browser import Page, browsing, origin
from tests.conftest import StartService
from tests.support.builders import new_fact, publication
from tests.support.issuer import AUDIENCE, IssuerServer
from tests.support.service import ROOT, ServiceProcess

pytestmark = pytest.mark.clients

WRAPPER = re.compile(r"^```js\n(async function followWithTickets.*?)^```", re.MULTILINE | re.DOTALL)
FOLLOW = """(() => {{
  {wrapper}
  window.seen = [], window.refusals = [];
  followWithTickets("{url}/v1/stream?namespace=shop", () => "{authorization}",
    (fact) => seen.push(fact.position), (refusal) => refusals.push(refusal));
}})()"""
WITH_A_TICKET = """(async () => {{
  const asked = {{ method: "POST", headers: {{ authorization: "{authorization}" }} }};
  const {{ ticket }} = await (await fetch("{url}/v1/tickets", asked)).json();
  window.seen = [], window.source = new EventSource("{url}/v1/stream?ticket=" + ticket);
  source.onmessage = (event) => seen.push(event.lastEventId);
}})()"""
BEGIN_SESSION = """fetch("/v1/session", {{ method: "POST", headers: {{ authorization: "{authorization}" }} }})
  .then((answer) => answer.json())"""
BY_COOKIE = """(() => {
  window.seen = [], window.opened = 0, window.source = new EventSource(URL + "/v1/stream", { withCredentials: true });
  source.onopen = () => opened++;
  source.onmessage = (event) => seen.push(event.lastEventId);
})()"""
STEAL = """fetch(URL + "/v1/facts", {{ {options} }}).then((answer) => answer.text(), String)"""
FAILED = "TypeError: Failed to fetch"


@pytest.fixture
async def page_url() -> AsyncIterator[str]:
    async with origin() as url:
        yield url


async def start(start_service: StartService, issuer: IssuerServer, **settings: object) -> ServiceProcess:
    return await start_service(
        auth="jwt", jwt_issuer=issuer.url, jwt_audience=AUDIENCE, jwt_grants_claim="grants", **settings
    )


def authorization(issuer: IssuerServer) -> str:
    return f"Bearer {issuer.token(grants={'read': {'include': ['*']}, 'publish': {'include': ['*']}})}"


async def publish(service: ServiceProcess, issuer: IssuerServer, *, count: int = 1) -> None:
    headers = {"authorization": authorization(issuer)}
    async with httpx.AsyncClient(base_url=service.url, headers=headers, verify=False) as client:
        facts = [new_fact(namespace="shop") for _ in range(count)]
        (await client.post("/v1/facts", json=publication(*facts))).raise_for_status()


def wrapper() -> str:
    found = WRAPPER.search((ROOT / "docs" / "access-tokens.md").read_text())
    assert found is not None
    return found[1]


async def test_a_browser_reconnects_with_a_used_ticket_in_vain(
    start_service: StartService, issuer: IssuerServer, page_url: str
) -> None:
    service = await start(start_service, issuer, cors_origins=page_url, stream_age_seconds_max=1, retry_seconds=0.1)
    await publish(service, issuer)
    async with browsing(page_url) as page:
        await page.run(WITH_A_TICKET.format(url=service.url, authorization=authorization(issuer)))
        assert await page.until("seen[0]") == "1:1"
        await page.until("source.readyState == 2")
        assert await page.run("seen.length") == 1


async def test_the_documented_wrapper_goes_on_with_new_tickets_without_a_gap_or_a_repeat(
    start_service: StartService, issuer: IssuerServer, page_url: str
) -> None:
    settings = {"cors_origins": page_url, "stream_age_seconds_max": 1, "ticket_seconds": 5}
    service = await start(start_service, issuer, **settings)
    await publish(service, issuer, count=3)
    async with browsing(page_url) as page:
        script = FOLLOW.format(wrapper=wrapper(), url=service.url, authorization=authorization(issuer))
        await page.run(script)
        for count in range(4, 10):  # over several streams, each of which ends after a second
            await page.until(f"seen.length == {count - 1}")
            await asyncio.sleep(0.5)
            await publish(service, issuer)
        await page.until("seen.length == 9")
        await service.kill()
        service = await start(start_service, issuer, port=service.port, **settings)
        await publish(service, issuer)
        await page.until("seen.length >= 10")
        assert await page.run("seen") == list(range(1, 11))
        assert await page.run("refusals") == []


async def test_the_documented_wrapper_stops_where_going_on_would_be_wrong(
    start_service: StartService, issuer: IssuerServer, page_url: str
) -> None:
    service = await start(start_service, issuer, cors_origins=page_url)
    async with browsing(page_url) as page:
        await page.run(FOLLOW.format(wrapper=wrapper(), url=service.url, authorization="Bearer nonsense"))
        assert json.loads(await page.until("refusals[0]"))["type"].endswith("unauthenticated")
        misspelt = FOLLOW.format(wrapper=wrapper(), url=service.url, authorization=authorization(issuer))
        await page.run(misspelt.replace("?namespace=", "?namspace="))
        assert json.loads(await page.until("refusals[0]"))["type"].endswith("unknown-parameter")


async def test_a_page_of_the_service_follows_with_its_cookie_and_reconnects_by_itself(
    start_service: StartService, issuer: IssuerServer
) -> None:
    service = await start(start_service, issuer, stream_age_seconds_max=1, retry_seconds=0.1)
    await publish(service, issuer)
    async with browsing(f"{service.url}/livez") as page:
        begun = await page.run(BEGIN_SESSION.format(authorization=authorization(issuer)))
        assert begun["principal"] == "jwt:127.0.0.1:alice"
        assert await page.run("document.cookie") == ""
        await follow_by_cookie(page, "")
        assert await page.until("seen[0]") == "1:1"
        await page.until("opened > 2")
        await publish(service, issuer)
        await page.until("seen.length > 1")
        assert await page.run("seen") == ["1:1", "1:2"]
        assert (await page.run("fetch('/v1/session', { method: 'DELETE' }).then((answer) => answer.status)")) == 200
        await page.until("source.readyState == 2")


@pytest.mark.parametrize("is_named", [True, False])
async def test_a_page_of_another_origin_reads_and_publishes_nothing_with_the_cookie(
    is_named: bool, start_service: StartService, issuer: IssuerServer, page_url: str
) -> None:
    """Not even one whose origin is named; of the same site it is, which other ports are, so that the cookie is sent."""
    service = await start(start_service, issuer, cors_origins=page_url if is_named else None)
    await publish(service, issuer)
    async with browsing(f"{service.url}/livez") as page:
        await page.run(BEGIN_SESSION.format(authorization=authorization(issuer)))
        await page.go_to(page_url)
        await follow_by_cookie(page, service.url)
        await page.until("source.readyState == 2")
        assert await page.run("seen.length + opened") == 0
        body = json.dumps(json.dumps(publication()))
        for options in (
            'credentials: "include"',
            f'credentials: "include", method: "POST", headers: {{"content-type": "application/json"}}, body: {body}',
        ):
            assert await steal(page, service.url, options) == FAILED
        form = f'credentials: "include", mode: "no-cors", method: "POST", body: {body}'
        assert await steal(page, service.url, form) == ""
        await page.go_to(f"{service.url}/v1/position")
        assert json.loads(await page.run("document.body.innerText"))["position"] == 1


async def follow_by_cookie(page: Page, url: str) -> None:
    await page.run(BY_COOKIE.replace("URL", json.dumps(url)))


async def steal(page: Page, url: str, options: str) -> Any:
    return await page.run(STEAL.format(options=options).replace("URL", json.dumps(url)))
