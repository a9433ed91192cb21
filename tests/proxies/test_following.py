"""Streams behind a proxy: facts arrive at once, quiet streams live, and a client that leaves is forgotten."""

import asyncio
import math
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.conftest import StartService
from tests.e2e.wire import streaming
from tests.proxies.conftest import StartProxy, only_nginx
from tests.proxies.metrics import has, metric
from tests.proxies.proxy import Product
from tests.support.builders import new_fact, publication
from tests.support.waiting import until

pytestmark = pytest.mark.proxies

WARM_UP, MEASURED = 3, 20
DELAY_SECONDS_MAX = 0.1
LOST_SECONDS = 1.0
IDENTITY, GZIP = {"accept-encoding": "identity"}, {"accept-encoding": "gzip"}
COMPRESS_STREAMS = {"gzip_types ": "gzip_types text/event-stream "}
BUFFER_STREAMS = COMPRESS_STREAMS | {'proxy_set_header Connection "";': 'proxy_set_header Connection ""; '
                                     "proxy_ignore_headers X-Accel-Buffering;"}  # fmt: skip
SHORT_TIMEOUTS = {
    "nginx": {"proxy_read_timeout 90s": "proxy_read_timeout 5s"},
    "haproxy": {"timeout client 90s": "timeout client 5s", "timeout server 90s": "timeout server 5s"},
}
QUIET_SECONDS = 12
OPEN_STREAMS = "factwire_open_streams"


@pytest.mark.parametrize("headers", [IDENTITY, GZIP], ids=["identity", "gzip"])
async def test_a_fact_reaches_a_stream_within_100_ms(
    start_service: StartService, start_proxy: StartProxy, headers: dict[str, str]
) -> None:
    proxy = await start_proxy(await start_service(auth="none"))
    assert await median_delay(proxy.url, headers, coding="") < DELAY_SECONDS_MAX


@only_nginx
async def test_a_fact_reaches_a_stream_within_100_ms_where_nginx_compresses_streams(
    start_service: StartService, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(await start_service(auth="none"), changes=COMPRESS_STREAMS)
    assert await median_delay(proxy.url, GZIP, coding="gzip") < DELAY_SECONDS_MAX


@only_nginx
async def test_the_measurement_notices_a_proxy_that_buffers(
    start_service: StartService, start_proxy: StartProxy
) -> None:
    proxy = await start_proxy(await start_service(auth="none"), changes=BUFFER_STREAMS)
    assert await median_delay(proxy.url, GZIP, coding="gzip") > DELAY_SECONDS_MAX


async def test_a_quiet_stream_outlives_the_timeouts_of_the_proxy_by_its_heartbeats(
    start_service: StartService, start_proxy: StartProxy, product: Product
) -> None:
    proxy = await start_proxy(await start_service(auth="none"), changes=SHORT_TIMEOUTS[product.name])
    async with (
        streaming(proxy.url, "?heartbeat=3") as kept,
        streaming(proxy.url, "?heartbeat=15") as lost,
        httpx.AsyncClient(base_url=proxy.url, verify=False) as client,
    ):
        began = time.monotonic()
        await lost.read_to_the_end()
        assert not lost.ended_cleanly
        await kept.read_until(lambda body: body.endswith(b":\n" * 4))
        assert time.monotonic() - began > QUIET_SECONDS - 1
        (await client.post("/v1/facts", json=publication())).raise_for_status()
        await kept.read_until(lambda body: b'"position":1,' in body)


async def test_a_client_that_leaves_is_forgotten_by_the_service_after_a_few_heartbeats(
    start_service: StartService, start_proxy: StartProxy
) -> None:
    service = await start_service(auth="none")
    proxy = await start_proxy(service)
    async with streaming(proxy.url, "?heartbeat=3") as stream:
        await stream.read_until(lambda body: b"caught-up" in body)
        assert await metric(service, OPEN_STREAMS) == 1
        stream.writer.transport.abort()  # to close politely would wait for the other side of TLS
    # nginx looks whether its client is there, HAProxy learns it when it writes.
    left_at = time.monotonic()
    await until(lambda: has(service, OPEN_STREAMS, 0), seconds=10)
    print(f"forgotten after {time.monotonic() - left_at:.1f} s")


async def median_delay(url: str, headers: dict[str, str], *, coding: str) -> float:
    """Seconds from the start of a publish until its fact has arrived on a stream, both through the proxy."""
    async with httpx.AsyncClient(base_url=url, verify=False) as client:
        try:
            async with arriving(client, headers, coding) as arrivals:
                delays = [await arrivals.delay(client) for _ in range(WARM_UP + MEASURED)]
        except httpx.ReadTimeout:
            return math.inf  # not even the first line came
    median = statistics.median(delays[WARM_UP:])
    print(f"a fact takes {median * 1000:.1f} ms")
    return median


class Arrivals:
    """The bytes of a stream, and when there were more."""

    def __init__(self) -> None:
        self.body = b""
        self.more = asyncio.Event()

    async def read(self, response: httpx.Response) -> None:
        async for part in response.aiter_bytes():
            self.body += part
            self.more.set()

    async def delay(self, client: httpx.AsyncClient) -> float:
        """How long one fact takes; LOST_SECONDS if it does not come."""
        fact = new_fact()
        began = time.monotonic()
        (await client.post("/v1/facts", json=publication(fact))).raise_for_status()
        try:
            async with asyncio.timeout(LOST_SECONDS):
                await self.have(fact["id"].encode())
        except TimeoutError:
            return LOST_SECONDS
        return time.monotonic() - began

    async def have(self, text: bytes) -> None:
        while text not in self.body:
            self.more.clear()
            await self.more.wait()


@asynccontextmanager
async def arriving(client: httpx.AsyncClient, headers: dict[str, str], coding: str) -> AsyncIterator[Arrivals]:
    arrivals = Arrivals()
    async with client.stream("GET", "/v1/stream", headers=headers) as response:
        assert response.headers.get("content-encoding", "") == coding
        reading = asyncio.create_task(arrivals.read(response))
        yield arrivals
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
