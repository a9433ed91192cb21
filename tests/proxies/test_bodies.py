"""Large bodies behind a proxy: publishes at their limit, imports as they are sent, exports whole or visibly cut."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.conftest import StartService
from tests.e2e.wire import exported, position_of
from tests.proxies.conftest import StartProxy
from tests.support.builders import Fact, new_facts, publication
from tests.support.waiting import until

pytestmark = pytest.mark.proxies

NDJSON = {"content-type": "application/x-ndjson"}
MIB = 1024 * 1024
PIECES, LINES = 12, 500
LARGE = {"payload": "x" * (MIB - 16 * 1024)}


async def test_a_publish_may_be_as_large_as_the_service_allows_and_the_service_says_what_is_larger(
    start_service: StartService, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(await start_service(auth="none"))
    async with httpx.AsyncClient(base_url=proxy.url, verify=False, timeout=30) as client:
        allowed = await client.post("/v1/facts", json=publication(*new_facts(4, **LARGE)))
        assert allowed.status_code == 201
        assert int(allowed.request.headers["content-length"]) > 3.9 * MIB
        larger = await client.post("/v1/facts", json=publication(*new_facts(5, **LARGE)))
        assert larger.status_code == 413
        assert larger.json()["type"] == "urn:factwire:problem:body-too-large"


async def test_an_import_is_published_while_it_is_sent_and_an_export_gives_it_back(
    start_service: StartService, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(await start_service(auth="none"))
    facts = new_facts(PIECES * LINES, payload="x" * 700)
    async with httpx.AsyncClient(base_url=proxy.url, verify=False, timeout=30) as client:

        async def in_pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(facts), LINES):
                yield ndjson(facts[start : start + LINES])
                await until(lambda end=start + LINES: has_reached(client, end))

        answer = await client.post("/v1/facts/import", content=in_pieces(), headers=NDJSON)
    assert json.loads(answer.text.splitlines()[-1])["result"]["published"] == len(facts)
    assert [fact["id"] for fact in await exported(proxy.url)] == [fact["id"] for fact in facts]


async def test_an_import_that_is_sent_at_once_is_published_whole(
    start_service: StartService, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(await start_service(auth="none"))
    body = ndjson(new_facts(20_000, payload="x" * 700))
    async with httpx.AsyncClient(base_url=proxy.url, verify=False, timeout=50) as client:
        answer = await client.post("/v1/facts/import", content=body, headers=NDJSON)
    assert json.loads(answer.text.splitlines()[-1])["result"]["published"] == 20_000


async def test_a_bad_line_of_a_large_import_is_told(start_service: StartService, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(await start_service(auth="none"))
    body = ndjson(new_facts(10)) + b"{\n" + ndjson(new_facts(10_000, payload="x" * 700))
    async with httpx.AsyncClient(base_url=proxy.url, verify=False, timeout=30) as client:
        answer = await client.post("/v1/facts/import", content=body, headers=NDJSON)
    assert json.loads(answer.text.splitlines()[-1])["problem"]["line"] == 11


async def test_an_export_whose_service_is_killed_does_not_end_as_if_it_were_whole(
    start_service: StartService, start_proxy: StartProxy
) -> None:
    service = await start_service(auth="none")
    proxy = await start_proxy(service)
    headers = {"accept-encoding": "identity"}  # as many bytes on each way: more than the buffers take
    async with httpx.AsyncClient(base_url=proxy.url, verify=False, timeout=30) as client:
        for _ in range(10):
            (await client.post("/v1/facts", json=publication(*new_facts(4, **LARGE)))).raise_for_status()
        async with client.stream("GET", "/v1/facts/export", headers=headers) as response:
            parts = response.aiter_raw()
            assert await anext(parts)
            await service.kill()
            with pytest.raises(httpx.TransportError):
                async for _ in parts:
                    pass


def ndjson(facts: list[Fact]) -> bytes:
    return b"".join(json.dumps(fact).encode() + b"\n" for fact in facts)


async def has_reached(client: httpx.AsyncClient, position: int) -> bool:
    return await position_of(client) >= position
