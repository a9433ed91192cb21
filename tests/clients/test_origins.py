"""Pages of other origins in a real browser: those that are named may read and follow, all others see nothing."""

from collections.abc import AsyncIterator

import pytest

from tests.clients.browser import browsing, origin
from tests.conftest import StartService

pytestmark = pytest.mark.clients

PUBLISH = """fetch("{url}/v1/facts", {{
  method: "POST",
  headers: {{"content-type": "application/json", "x-request-id": "from-a-page"}},
  body: JSON.stringify({{facts: [{{namespace: "shop", type: "OrderPlaced", payload: 1}}]}}),
}}).then(async (answer) => [answer.status, answer.headers.get("x-request-id"), await answer.json()], String)"""
READ = """fetch("{url}/v1/facts").then((answer) => [answer.status, answer.headers.get("link")], String)"""
FOLLOW = """(() => {{
  window.seen = [];
  const source = new EventSource("{url}/v1/stream");
  source.onmessage = (event) => seen.push(event.lastEventId);
  source.onerror = () => seen.push("error " + source.readyState);
}})()"""
REFUSED = "TypeError: Failed to fetch"


@pytest.fixture
async def page_url() -> AsyncIterator[str]:
    async with origin() as url:
        yield url


async def test_a_named_origin_publishes_reads_and_follows(start_service: StartService, page_url: str) -> None:
    service = await start_service(cors_origins=f"https://app.example,{page_url}")
    async with browsing(page_url) as page:
        status, request_id, published = await page.run(PUBLISH.format(url=service.url))
        assert (status, request_id, published["position"]) == (201, "from-a-page", 1)
        assert await page.run(READ.format(url=service.url)) == [200, '</v1/facts?after=1%3A1>; rel="next"']
        await page.run(FOLLOW.format(url=service.url))
        assert await page.until("seen[0]") == "1:1"
        await page.run(PUBLISH.format(url=service.url))
        assert await page.until("seen[1]") == "1:2"  # pushed past ASGI


@pytest.mark.parametrize("named", [None, "https://app.example"])
async def test_any_other_origin_neither_publishes_nor_reads_nor_follows(
    named: str | None, start_service: StartService, page_url: str
) -> None:
    service = await start_service(cors_origins=named)
    async with browsing(page_url) as page:
        assert await page.run(PUBLISH.format(url=service.url)) == REFUSED
        assert await page.run(READ.format(url=service.url)) == REFUSED
        await page.run(FOLLOW.format(url=service.url))
        assert await page.until("seen[0]") == "error 2"
        await page.go_to(service.url + "/livez")
        assert (await page.run(READ.format(url="")))[
            1
        ] == '</v1/facts?after=1%3A0>; rel="next"'  # nothing was published
