"""What pages of other origins are told (CORS), byte for byte."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.conftest import StartService
from tests.support.builders import publication

NAMED = "https://app.example"
FOREIGN = ("https://app.example.evil.example", "https://evil.example", "http://app.example", "null", "*", NAMED + "/")


async def preflight(client: httpx.AsyncClient, origin: str, *, method: str = "POST", headers: str) -> httpx.Response:
    asked = {"access-control-request-method": method, "access-control-request-headers": headers}
    return await client.options("/v1/facts", headers={"origin": origin, **asked})


async def test_a_named_origin_is_answered_and_no_other_is_ever_named_and_none_with_credentials(
    start_service: StartService,
) -> None:
    service = await start_service(cors_origins=f"{NAMED}, https://other.example:8443")
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        wanted = "authorization,content-type,last-event-id,x-request-id"
        told = await preflight(client, NAMED, headers=wanted)
        assert told.status_code == 200
        assert told.headers["access-control-allow-origin"] == NAMED
        assert "Last-Event-ID" in told.headers["access-control-allow-headers"]
        answers = [told]
        for origin in FOREIGN:
            refused = await preflight(client, origin, headers=wanted)
            assert refused.status_code == 400
            asked = await client.get("/v1/facts", headers={"origin": origin})
            published = await client.post("/v1/facts", json=publication(), headers={"origin": origin})
            for answer in (refused, asked, published):
                assert "access-control-allow-origin" not in answer.headers
                assert "origin" in answer.headers["vary"].lower()
            answers += [refused, asked, published]
        for path in ("/v1/facts", "/v1/facts/at/999", "/nowhere", "/v1/facts?misspelt=1"):
            answer = await client.get(path, headers={"origin": NAMED})
            assert answer.headers["access-control-allow-origin"] == NAMED
            assert (
                "ETag, Link, Location, RateLimit, RateLimit-Policy, Retry-After"
                in answer.headers["access-control-expose-headers"]
            )
            answers.append(answer)
        published = await client.post("/v1/facts", json=publication(), headers={"origin": NAMED})
        assert published.headers["access-control-allow-origin"] == NAMED
        assert all("access-control-allow-credentials" not in answer.headers for answer in [*answers, published])
        assert "origin" in (await client.get("/v1/facts")).headers["vary"].lower()


async def test_a_page_of_a_named_origin_follows_history_and_what_is_new(start_service: StartService) -> None:
    service = await start_service(cors_origins=NAMED)
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        await client.post("/v1/facts", json=publication())
        async with client.stream("GET", "/v1/stream", headers={"origin": NAMED}) as stream:
            assert stream.headers["access-control-allow-origin"] == NAMED
            lines = stream.aiter_lines()
            await event_of(lines, "1:1")
            await client.post("/v1/facts", json=publication())
            await event_of(lines, "1:2")


async def event_of(lines: AsyncIterator[str], cursor: str) -> None:
    """Wait for an event with a cursor, and fail where the stream ends before it."""
    async with asyncio.timeout(10):
        async for line in lines:
            if line == f"id: {cursor}":
                return
    raise AssertionError(f"the stream has ended before {cursor}")


async def test_without_the_setting_nothing_is_shared(start_service: StartService) -> None:
    service = await start_service()
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        assert (await preflight(client, NAMED, headers="authorization")).status_code == 405
        answer = await client.get("/v1/facts", headers={"origin": NAMED})
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "wrong",
    ["*", "app.example", "https://app.example/", "https://*.example", "https://App.example", "null", "https://"],
)
async def test_what_is_no_exact_origin_is_refused(wrong: str, start_service: StartService) -> None:
    with pytest.raises(AssertionError, match="FACTWIRE_CORS_ORIGINS"):
        await start_service(cors_origins=wrong)
