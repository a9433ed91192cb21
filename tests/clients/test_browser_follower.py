"""docs/followers/follow.js in a real browser, with tickets and IndexedDB."""

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest

from tests.access.keys import known, make_key, new_grants
from tests.clients.browser import Page, browsing, origin
from tests.clients.test_browser_snippet import answer_badly
from tests.conftest import StartService
from tests.recipes.cutting import relaying
from tests.recipes.programs import publish, raise_epoch, revoke
from tests.support.builders import new_facts
from tests.support.service import ROOT

pytestmark = pytest.mark.clients

READER = new_grants(read=(["shop"], []))
PUBLISHER = new_grants(publish=(["shop"], []))
MODULE = base64.b64encode((ROOT / "docs" / "followers" / "follow.js").read_bytes()).decode()
FOLLOW = """(async () => {{
  const {{ follow }} = await import("data:text/javascript;base64,{module}");
  window.problems = [], window.changes = 0, window.refusal = window.failure = null;
  const said = {{ onChange: () => changes++, onProblem: (problem) => problems.push(problem) }};
  follow("{url}/v1/stream?namespace=shop", "orders", {{ authorization: async () => "{authorization}", ...said }})
    .then((problem) => {{ refusal = problem; }}, (error) => {{ failure = String(error); }});
}})()"""
LOOK = """new Promise((done) => {
  const opening = indexedDB.open("orders", 1);
  opening.onupgradeneeded = () => opening.transaction.abort();
  opening.onerror = () => done(["start", {}]);
  opening.onsuccess = () => {
    const both = opening.result.transaction(["totals", "progress"]), totals = {};
    const cursor = both.objectStore("progress").get("cursor");
    both.objectStore("totals").openCursor().onsuccess = ({ target: { result } }) => {
      if (result) totals[result.key] = result.value, result.continue();
    };
    both.oncomplete = () => { opening.result.close(); done([cursor.result ?? "start", totals]); };
  };
})"""
# Bring back the first ticket only when it is over, as a page does that was asleep.
EXPIRE_THE_FIRST_TICKET = """(() => {
  const { fetch } = window;
  window.expired = 0;
  window.fetch = async (...asked) => {
    const answer = await fetch(...asked);
    if (expired++) return answer;
    const { expires_at } = await answer.clone().json();
    while (Date.now() <= Date.parse(expires_at) + 100) await new Promise((wake) => setTimeout(wake, 10));
    return answer;
  };
})()"""
# The third fact cannot be stored, once.
FAIL_TO_STORE = """(() => {
  const { put } = IDBObjectStore.prototype;
  let left = 3;
  IDBObjectStore.prototype.put = function (...what) {
    if (this.name === "totals" && --left === 0) throw new Error("full");
    return put.apply(this, what);
  };
})()"""
QUICK = {"stream_age_seconds_max": 1, "retry_seconds": 0.1}


@pytest.fixture
async def page_url() -> AsyncIterator[str]:
    async with origin() as url:
        yield url


async def follow(page: Page, url: str, *, key: str | None = None) -> None:
    authorization = "" if key is None else f"Bearer {key}"
    await page.run(FOLLOW.format(module=MODULE, url=url, authorization=authorization))


async def look(page: Page) -> tuple[str, dict[str, int]]:
    cursor, totals = await page.run(LOOK)
    return cursor, totals


async def until_cursor(page: Page, cursor: str) -> dict[str, int]:
    """The totals at a cursor, which the view must reach."""
    async with asyncio.timeout(30):
        while (found := await look(page))[0] != cursor:
            assert await page.run("failure ?? refusal") is None
            await asyncio.sleep(0.05)
    return found[1]


async def until_facts(page: Page, count: int) -> dict[str, int]:
    """The totals as soon as there are so many facts; keys are facts too, so that positions do not tell."""
    async with asyncio.timeout(30):
        while sum((totals := (await look(page))[1]).values()) < count:
            assert await page.run("failure ?? refusal") is None
            await asyncio.sleep(0.05)
    return totals


async def test_history_and_live_facts_are_in_the_view_and_the_page_is_told(
    start_service: StartService, page_url: str
) -> None:
    service = await start_service(cors_origins=page_url)
    await publish(service.url, *new_facts(3), *new_facts(2, namespace="elsewhere"))
    async with browsing(page_url) as page:
        await follow(page, service.url)
        await until_cursor(page, "1:5")
        await publish(service.url, *new_facts(2, type="OrderPaid"))
        assert await until_cursor(page, "1:7") == {"OrderPlaced": 3, "OrderPaid": 2}
        assert await page.run("changes") >= 5


async def test_a_page_that_is_left_in_the_middle_goes_on_without_loss_or_double(
    start_service: StartService, page_url: str
) -> None:
    service = await start_service(cors_origins=page_url)
    await publish(service.url, *new_facts(1000))
    await publish(service.url, *new_facts(1000))
    async with browsing(page_url) as page:
        seen = 0
        for _ in range(4):
            await follow(page, service.url)
            await page.until("changes > 20")
            await page.go_to(page_url)
            cursor, totals = await look(page)
            assert cursor == f"1:{totals['OrderPlaced']}"
            assert seen < totals["OrderPlaced"]
            seen = totals["OrderPlaced"]
        await follow(page, service.url)
        assert await until_cursor(page, "1:2000") == {"OrderPlaced": 2000}


async def test_of_two_that_follow_into_one_view_only_one_does(start_service: StartService, page_url: str) -> None:
    service = await start_service(cors_origins=page_url)
    async with browsing(page_url) as page:
        await follow(page, service.url)
        await follow(page, service.url)
        await publish(service.url, *new_facts(5))
        assert await until_cursor(page, "1:5") == {"OrderPlaced": 5}
        assert await page.run("navigator.locks.query().then(({ pending }) => pending.length)") == 1


async def test_it_goes_on_over_ended_and_dropped_streams_and_bad_gateways(
    start_service: StartService, page_url: str
) -> None:
    """After each of them an EventSource by itself would be over for good: its ticket is used up."""
    settings = QUICK | {"cors_origins": page_url}
    service = await start_service(**settings)
    await publish(service.url, *new_facts(3))
    async with browsing(page_url) as page, relaying(service.port) as (relay, url):
        await follow(page, url)
        await until_cursor(page, "1:3")
        relay.cut_off()
        await publish(service.url, *new_facts(2))
        await until_cursor(page, "1:5")
        await service.kill()
        await answer_badly(service.port)
        service = await start_service(port=service.port, **settings)
        await publish(service.url, *new_facts(2))
        assert await until_cursor(page, "1:7") == {"OrderPlaced": 7}


async def test_an_expired_ticket_is_followed_by_a_new_one(start_service: StartService, page_url: str) -> None:
    service = await start_service(auth="keys", cors_origins=page_url, ticket_seconds=1)
    key, publisher = [(await make_key(service.database_url, each)).secret for each in (READER, PUBLISHER)]
    await known(service.url, key, publisher)
    await publish(service.url, *new_facts(3), key=publisher)
    async with browsing(page_url) as page:
        await page.run(EXPIRE_THE_FIRST_TICKET)
        await follow(page, service.url, key=key)
        assert await until_facts(page, 3) == {"OrderPlaced": 3}
        assert await page.run("expired") == 2


async def test_a_problem_ends_the_stream_and_a_refused_ticket_ends_following(
    start_service: StartService, page_url: str
) -> None:
    service = await start_service(auth="keys", cors_origins=page_url)
    revoked, fresh = [await make_key(service.database_url, READER) for _ in range(2)]
    publisher = (await make_key(service.database_url, PUBLISHER)).secret
    await known(service.url, revoked.secret, fresh.secret, publisher)
    await publish(service.url, *new_facts(3), key=publisher)
    async with browsing(page_url) as page:
        await follow(page, service.url, key=revoked.secret)
        await until_facts(page, 3)
        await revoke(service.database_url, revoked.key.id)
        assert (await page.until("problems[0]"))["type"].endswith(":unauthenticated")
        assert (await page.until("refusal"))["type"].endswith(":unauthenticated")
        await publish(service.url, *new_facts(2), key=publisher)
        await follow(page, service.url, key=fresh.secret)
        assert await until_facts(page, 5) == {"OrderPlaced": 5}


async def test_a_fork_ends_following_and_leaves_the_view(start_service: StartService, page_url: str) -> None:
    service = await start_service(cors_origins=page_url)
    await publish(service.url, *new_facts(3))
    async with browsing(page_url) as page:
        await follow(page, service.url)
        await until_cursor(page, "1:3")
        await raise_epoch(service.database_url, forked_after=2)
        refusal = await page.until("refusal")
        assert (refusal["type"], refusal["forked_after"]) == ("urn:factwire:problem:cursor-forked", 2)
        assert await look(page) == ("1:3", {"OrderPlaced": 3})


async def test_nothing_is_stored_behind_what_could_not_be_stored(start_service: StartService, page_url: str) -> None:
    service = await start_service(cors_origins=page_url)
    await publish(service.url, *new_facts(10))
    async with browsing(page_url) as page:
        await page.run(FAIL_TO_STORE)
        await follow(page, service.url)
        assert "AbortError" in await page.until("failure")
        assert await look(page) == ("1:2", {"OrderPlaced": 2})
        await follow(page, service.url)
        assert await until_cursor(page, "1:10") == {"OrderPlaced": 10}
