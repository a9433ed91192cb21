"""The explorer page in a real browser: what it shows, how one gets about in it, and whom it keeps out."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.access.keys import known, make_key, new_grants
from tests.clients.browser import Page, browsing
from tests.conftest import StartService
from tests.support.builders import publication
from tests.support.service import ROOT, ServiceProcess

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

AXE = ROOT / "tests" / "clients" / "node_modules" / "axe-core" / "axe.min.js"
AXE_RUN = """axe.run().then(({ violations, passes }) =>
  [violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), passes.length])"""
TEXT = "document.querySelector('main').innerText"
VIEWS = (
    "#/",
    "#/search?q=namespace%3Dshop",
    "#/search?q=nonsense",
    "#/aggregate/order-1",
    "#/fact/1",
    "#/fact/999",
    "#/live",
    "#/publish",
    "#/streams",
    "#/subscriptions",
    "#/subscriptions/billing",
    "#/health",
    "#/sign-in",
)
EXACT = '{"total": 12.50, "number": 12345678901234567890, "text": "a\\u00e9 <b>bold</b>", "total": 1e400}'
NAMED = "facts.test"


def order(number: int, type: str = "OrderPlaced", **members: object) -> dict[str, object]:
    given = {"namespace": "shop", "type": type, "aggregate_ids": [f"order-{number}"], "payload": {"number": number}}
    return given | members


async def publish(service: ServiceProcess, *facts: dict[str, object], key: str | None = None) -> None:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=service.url, headers=headers, timeout=30, verify=False) as client:
        (await client.post("/v1/facts", json=publication(*facts))).raise_for_status()


async def publish_exactly(service: ServiceProcess, payload: str) -> None:
    content = f'{{"facts": [{{"namespace": "shop", "type": "Exact", "payload": {payload}}}]}}'
    headers = {"content-type": "application/json"}
    async with httpx.AsyncClient(base_url=service.url, headers=headers, timeout=30, verify=False) as client:
        (await client.post("/v1/facts", content=content)).raise_for_status()


@asynccontextmanager
async def exploring(service: ServiceProcess, view: str = "#/") -> AsyncIterator[Page]:
    async with browsing(f"{service.url}/{view}") as page:
        await page.until("document.querySelector('main h1')")
        yield page


async def open_view(page: Page, view: str) -> None:
    """Go to a view, or show it anew; what was there before does not count."""
    await page.run(
        f"(document.querySelector('main').replaceChildren(), location.hash === {json.dumps(view)}"
        f" ? dispatchEvent(new Event('hashchange')) : location.hash = {json.dumps(view)}, true)"
    )
    await page.until("document.querySelector('main h1')")


async def test_the_overview_tells_what_is_in_the_log(start_service: StartService) -> None:
    service = await start_service()
    await publish(service, order(1), order(1, "OrderPaid"), order(2), order(3, namespace="loans"))
    async with exploring(service) as page:
        text = await page.run(TEXT)
        assert "loans 1 fact," in text
        assert "shop 3 facts, the last at 3" in text
        assert "at most" in await page.run("document.querySelector('.spark').getAttribute('aria-label')")
        await page.run("(document.querySelectorAll('summary')[1].click(), true)")
        assert "OrderPaid" in await page.until("document.querySelector('details[open] tbody')?.innerText")
        assert await page.complaints() == []


async def test_the_overview_searches_the_namespaces_and_shows_a_page_of_them(start_service: StartService) -> None:
    service = await start_service()
    await publish(service, *(order(1, namespace=f"tenant.{number:03}") for number in range(250)))
    async with exploring(service) as page:
        assert await page.run("document.querySelectorAll('details').length") == 100
        await page.run(
            "([...document.querySelectorAll('main button')].find((b) => b.innerText === 'More').click(), true)"
        )
        await page.until("document.querySelectorAll('details').length === 200")
        await page.run("(document.querySelector('main input[type=search]').focus(), true)")
        await page.type("tenant.24")
        await page.until("document.querySelectorAll('details').length === 10")
        await page.type("x")
        await page.until("document.querySelector('main [role=status]')?.checkVisibility()")
        assert "No namespaces start with this prefix." in await page.run(TEXT)
        assert await page.complaints() == []


async def test_a_search_finds_what_its_query_says_and_the_link_leads_there_again(start_service: StartService) -> None:
    service = await start_service()
    await publish(service, *(order(number, meta={"tenant": "a b"}) for number in range(1, 121)), order(7, "OrderPaid"))
    async with exploring(service) as page:
        await page.press("/")
        await page.type('aggregate_id=order-7 meta="tenant:a b" OR type=OrderPaid')
        await page.press("Enter")
        await page.until("document.querySelectorAll('tbody tr').length === 2")
        link = await page.run("location.hash")
        await page.go_to("about:blank")
        await page.go_to(f"{service.url}/{link}")
        await page.until("document.querySelectorAll('tbody tr').length === 2")
        await open_view(page, "#/search?q=namespace%3Dshop&at=60")
        assert (await page.run("document.querySelector('tbody td').innerText")).strip() == "60"
        await page.run(
            "([...document.querySelectorAll('main a')].find((a) => a.innerText === 'Older facts').click(), true)"
        )
        await page.until("document.querySelector('tbody td').innerText.trim() === '10'")
        await open_view(page, "#/search?at=2020-01-01")
        assert "Nothing matches" in await page.run(TEXT)


async def test_a_fact_is_shown_to_the_byte_and_never_as_markup(start_service: StartService) -> None:
    service = await start_service()
    await publish_exactly(service, EXACT)
    async with exploring(service, "#/fact/1") as page:
        shown = await page.run("document.querySelector('pre').textContent")
        without_blanks = EXACT.replace(", ", ",").replace(": ", ":")
        assert shown.replace("\n", "").replace("  ", "").replace(": ", ":") == without_blanks
        assert await page.run("document.querySelector('main b')?.innerText ?? ''") == ""
        await open_view(page, "#/search")
        assert EXACT in await page.run(TEXT)


async def test_what_is_large_or_made_to_mislead_is_shown(start_service: StartService) -> None:
    service = await start_service()
    await publish_exactly(service, f"[{','.join(['0'] * 100_000)}]")
    await publish(service, order(1, aggregate_ids=["order-\u202e1"]))
    async with exploring(service, "#/fact/1") as page:
        assert await page.run("document.querySelector('main pre').innerText.split('\\n').length") == 100_002
        await open_view(page, "#/fact/2")
        assert "order-\\u202e1" in await page.run(TEXT)
        for link in ("#/fact/%", "#/constructor"):
            await open_view(page, link)
            assert await page.complaints() == []


async def test_a_timeline_has_the_facts_of_its_aggregate_in_order(start_service: StartService) -> None:
    service = await start_service()
    await publish(service, order(1), order(2), order(1, "OrderPaid"), order(1, "OrderShipped"))
    async with exploring(service, "#/aggregate/order-1") as page:
        items = await page.run("[...document.querySelectorAll('.timeline li')].map((item) => item.innerText)")
        found = [next(name for name in ("Placed", "Paid", "Shipped") if name in item) for item in items]
        assert found == ["Placed", "Paid", "Shipped"]
        assert "later" in items[1]


async def test_the_live_tail_filters_and_pauses(start_service: StartService) -> None:
    service = await start_service()
    async with exploring(service, "#/live?q=type%3DOrderPaid") as page:
        await page.until("document.getElementById('state').innerText === 'live'")
        await publish(service, order(1), order(1, "OrderPaid"))
        await page.until("document.querySelectorAll('tbody tr').length === 1")
        await page.press("p")
        await publish(service, order(2, "OrderPaid"))
        await page.until("document.getElementById('pause').innerText === 'Resume (1 new)'")
        assert await page.run("document.querySelectorAll('tbody tr').length") == 1
        await page.press("p")
        await page.until("document.querySelectorAll('tbody tr').length === 2")


async def test_two_tabs_share_a_stream_and_one_goes_on_where_the_other_was_closed(start_service: StartService) -> None:
    service = await start_service()
    async with exploring(service, "#/live") as page:
        await page.until("document.getElementById('state').innerText === 'live'")
        await page.run(
            "(async () => { const { followTogether } = await import('/ui/live.js'); window.seen = []; "
            "window.other = followTogether({ onFact: (text) => seen.push(JSON.parse(text).position), onState() {} });"
            " return true; })()"
        )
        await publish(service, order(1))
        await page.until("seen.length === 1")
        async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
            assert (await client.get("/v1/streams")).json()["open"] == 1
        await page.run("(location.hash = '#/health', true)")
        await publish(service, order(2), order(3))
        await page.until("seen.length === 3")
        assert await page.run("seen") == [1, 2, 3]


async def test_a_live_tail_comes_back_after_a_restart(start_service: StartService) -> None:
    service = await start_service(retry_seconds=0.1)
    async with exploring(service, "#/live") as page:
        await page.until("document.getElementById('state').innerText === 'live'")
        await publish(service, order(1))
        await page.until("document.querySelectorAll('tbody tr').length === 1")
        await service.kill()
        service = await start_service(port=service.port, retry_seconds=0.1)
        await publish(service, order(2))
        await page.until("document.querySelectorAll('tbody tr').length === 2")


@pytest.mark.parametrize("key", ["constructor", "toString", "hasOwnProperty"])
async def test_a_meta_key_may_have_the_name_of_what_every_object_has(start_service: StartService, key: str) -> None:
    service = await start_service()
    async with exploring(service, "#/publish") as page:
        await page.run(f"(document.getElementById('meta').value = '{key}:a,{key}:b', true)")
        await page.run("(document.querySelector('main form').requestSubmit(), true)")
        assert "Published at position 1." in await page.until("document.getElementById('answer').innerText")
        await publish(service, order(1))
        await open_view(page, f"#/search?q=meta%3D{key}%3Ab")
        assert await page.run("document.querySelectorAll('tbody tr').length") == 1


async def park(service: ServiceProcess, *names: str) -> None:
    """A subscription with these orders parked."""
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        path = "/v1/subscriptions/billing"
        (await client.put(path, json={"query": {}, "start": "start"})).raise_for_status()
        await publish(service, *[order(0, aggregate_ids=[name]) for name in names])
        claimed = (await client.post(f"{path}/claim", json={"worker": "ann", "wait_seconds": 5})).json()["facts"]
        body = {"leases": [each["lease"] for each in claimed], "park": True, "reason": "<b>no</b> card"}
        (await client.post(f"{path}/nack", json=body)).raise_for_status()


async def press(page: Page, text: str) -> None:
    """Press the first button with a text."""
    found = f"[...document.querySelectorAll('main button')].find((each) => each.innerText === '{text}')"
    await page.run(f"({found}.click(), true)")


async def test_parked_facts_are_shown_replayed_and_discarded(start_service: StartService) -> None:
    service = await start_service()
    await park(service, "order-1", "order-2", "order-3")
    async with exploring(service, "#/subscriptions") as page:
        assert "billing" in await page.run(TEXT)
        await open_view(page, "#/subscriptions/billing")
        assert "<b>no</b> card" in await page.run(TEXT)
        rows = "document.querySelectorAll('tbody tr').length"
        assert await page.run(rows) == 3
        await press(page, "Replay")
        await page.until(f"{rows} === 2")
        await press(page, "Discard")
        await page.until(f"{rows} === 1")
        await press(page, "Pause")
        await page.until("document.querySelector('main dl').innerText.includes('paused')")
        async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
            status = (await client.get("/v1/subscriptions/billing")).json()
        assert (status["state"], status["ready"], status["parked"]) == ("paused", 1, 1)


async def test_a_form_publishes_where_only_this_machine_reaches_the_service(start_service: StartService) -> None:
    service = await start_service()
    async with exploring(service, "#/publish") as page:
        await page.run(f"(document.getElementById('payload').value = {json.dumps(EXACT)}, true)")
        await page.run("(document.querySelector('main form').requestSubmit(), true)")
        await page.until("document.querySelector('#answer .good')")
        async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
            assert EXACT in (await client.get("/v1/facts/at/1")).text
        await page.run("(document.getElementById('namespace').value = 'a b', true)")
        await page.run("(document.querySelector('main form').requestSubmit(), true)")
        assert "/facts/0/namespace" in await page.until("document.querySelector('#answer .problem')?.innerText")


async def test_a_key_opens_the_page_and_its_end_closes_it(start_service: StartService) -> None:
    service = await start_service(auth="keys")
    writer = (await make_key(service.database_url, new_grants(publish=(["*"], [])))).secret
    reader = (await make_key(service.database_url, new_grants(read=(["shop"], [])))).secret
    await known(service.url, writer, reader)
    await publish(service, order(1), order(2, namespace="loans"), key=writer)
    async with exploring(service, "#/search") as page:
        await page.until("document.getElementById('key')")
        assert "Publish" not in await page.run("document.getElementById('nav').innerText")
        await page.run(f"(document.getElementById('key').value = {json.dumps(reader)}, true)")
        await page.run("(document.querySelector('main form').requestSubmit(), true)")
        await page.until("document.querySelectorAll('tbody tr').length === 1")
        assert "loans" not in await page.run(TEXT)
        assert await page.run("document.cookie") == ""
        command = await page.run("document.querySelector('main .curl').title")
        assert "$FACTWIRE_KEY" in command
        assert reader not in command
        await open_view(page, "#/streams")
        assert "do not allow" in await page.run(TEXT)
        await open_view(page, "#/sign-in")
        await page.run("([...document.querySelectorAll('main button')].at(-1).click(), true)")
        await page.until("document.querySelector('[role=status]:not(#status)')")
        await page.run("(location.hash = '#/', true)")
        await page.until("location.hash.startsWith('#/sign-in')")


async def test_over_plain_http_under_a_name_it_follows_and_says_why_nobody_signs_in(
    start_service: StartService,
) -> None:
    """There a browser has neither the locks that tabs share a stream by, nor keeps the cookie of a session."""
    service = await start_service(auth="none", allowed_hosts=NAMED)
    by_name = f"http://{NAMED}:{service.port}/"
    async with browsing(f"{by_name}#/live") as page:
        await page.until("document.getElementById('state')?.innerText === 'live'")
        await publish(service, order(1))
        await page.until("document.querySelectorAll('tbody tr').length === 1")
        assert await page.run("isSecureContext") is False
        assert [each for each in await page.complaints() if "Cross-Origin-Opener-Policy" not in each] == []
    closed = await start_service(auth="keys", allowed_hosts=NAMED)
    async with browsing(f"http://{NAMED}:{closed.port}/#/search") as page:
        told = await page.until("document.querySelector('main .problem')?.innerText")
        assert "plain HTTP" in told
        assert await page.run("document.getElementById('key')") is None


async def test_the_copied_command_does_the_same_in_a_shell(start_service: StartService) -> None:
    service = await start_service()
    await publish(service, order(1, aggregate_ids=["it's order 1"]), order(2))
    async with exploring(service, "#/search?q=aggregate_id%3D%22it's%20order%201%22") as page:
        command = await page.run("document.querySelector('main .curl').title")
    process = await asyncio.create_subprocess_shell(f"{command} -s", stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    assert [fact["position"] for fact in json.loads(output)["facts"]] == [1]


async def test_the_keyboard_leads_everywhere(start_service: StartService) -> None:
    service = await start_service()
    await publish(service, order(1), order(2), order(3))
    async with exploring(service) as page:
        for key, title in (
            ("s", "Search"),
            ("l", "Live"),
            ("t", "Open streams"),
            ("u", "Subscriptions"),
            ("h", "Health"),
            ("o", "Contents"),
        ):
            await page.press("g", key)
            await page.until(f"document.querySelector('main h1').innerText.startsWith('{title}')")
        await page.press("?")
        await page.until("document.querySelector('dialog[open]')")
        await page.press("Escape")
        await page.press("g", "s")
        await page.until("document.querySelectorAll('tbody tr').length === 3")
        await page.press("j", "j", "Enter")
        await page.until("document.querySelector('main dd')?.innerText === '2'")
        assert (await page.run("location.hash")).startswith("#/fact/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
async def test_axe_finds_nothing_and_nothing_is_wider_than_the_page(
    start_service: StartService, scheme: str, width: int
) -> None:
    service = await start_service()
    await publish(service, order(1, meta={"tenant": "a"}), order(1, "OrderPaid", aggregate_ids=["order-1", "x" * 256]))
    await park(service, "order-7", "order-8")
    async with exploring(service) as page:
        await page.show(width=width, scheme=scheme)
        await page.run(f"(() => {{ {AXE.read_text()} ; return true; }})()")
        for view in VIEWS:
            await open_view(page, view)
            found, passed = await page.run(AXE_RUN)
            assert passed > 5, view
            assert found == [], view
            assert await page.run("document.documentElement.scrollWidth") <= width, view


async def test_nothing_is_asked_of_other_places_and_the_policy_is_strict(start_service: StartService) -> None:
    service = await start_service()
    async with exploring(service) as page:
        for view in VIEWS:
            await open_view(page, view)
        asked = await page.run("performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert asked
        assert [url for url in asked if not url.startswith(service.url)] == []
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        policy = (await client.get("/")).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


async def test_pictures_of_it_can_be_taken(start_service: StartService, tmp_path: Path) -> None:
    """FACTWIRE_PICTURES=docs/images renews those of the documentation."""
    pictures = ROOT / os.environ.get("FACTWIRE_PICTURES", tmp_path)
    service = await start_service()
    for number in range(1, 40):
        await publish(service, order(number, payload={"total": number * 12.5, "currency": "EUR"}, meta={"tenant": "a"}))
    await publish(
        service, order(39, "OrderPaid"), order(39, "OrderShipped"), order(5, namespace="loans", type="A_SUBMITTED")
    )
    async with exploring(service) as page:
        for name, view, width, height, scheme in (
            ("overview", "#/", 1200, 640, "light"),
            ("search", "#/search?q=namespace%3Dshop", 1200, 640, "dark"),
            ("aggregate", "#/aggregate/order-39", 1200, 640, "light"),
            ("narrow", "#/search?q=aggregate_id%3Dorder-39", 360, 640, "light"),
        ):
            await page.show(width=width, height=height, scheme=scheme)
            await open_view(page, view)
            picture = pictures / f"explorer-{name}.png"
            await page.picture(picture)
            assert picture.read_bytes().startswith(b"\x89PNG")
