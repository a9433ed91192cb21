"""HTTP/2 at the proxy: a browser has one connection, and all its streams have room in it."""

import asyncio
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import StartService
from tests.proxies.conftest import StartProxy
from tests.proxies.metrics import metric
from tests.support.builders import publication

pytestmark = pytest.mark.proxies

FOLLOW = Path(__file__).parent / "follow_http2.mjs"
STREAMS = 200
LINE_SECONDS = 20.0


async def test_200_streams_share_one_connection(start_service: StartService, start_proxy: StartProxy) -> None:
    service = await start_service(auth="none")
    proxy = await start_proxy(service)
    async with following(proxy.url) as client:
        assert await line(client) == "caught up"
        assert await metric(service, "factwire_open_streams") == STREAMS
        async with httpx.AsyncClient(base_url=proxy.url, verify=False) as publisher:
            (await publisher.post("/v1/facts", json=publication())).raise_for_status()
        assert await line(client) == "received"


@asynccontextmanager
async def following(url: str) -> AsyncIterator[Process]:
    client = await asyncio.create_subprocess_exec("node", str(FOLLOW), url, str(STREAMS), stdout=PIPE)
    try:
        yield client
    finally:
        if client.returncode is None:
            client.kill()
        await client.wait()


async def line(client: Process) -> str:
    assert client.stdout is not None
    return (await asyncio.wait_for(client.stdout.readline(), LINE_SECONDS)).decode().strip()
