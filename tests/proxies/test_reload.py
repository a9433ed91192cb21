"""A proxy is reloaded while facts are published at a steady pace: no stream misses or repeats one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.conftest import StartService
from tests.e2e.wire import Acknowledged, keep_publishing
from tests.proxies.conftest import StartProxy
from tests.proxies.following import Follower, all_have, followers
from tests.proxies.proxy import Product
from tests.support.waiting import until

pytestmark = [pytest.mark.proxies, pytest.mark.timeout(120)]

STREAMS = 10
PAUSE_SECONDS = 0.02
CUT_AFTER_A_SECOND = {
    "nginx": {"worker_shutdown_timeout 2h": "worker_shutdown_timeout 1s"},
    "haproxy": {"hard-stop-after 2h": "hard-stop-after 1s"},
}


async def test_streams_that_a_reload_cuts_resume_without_gap_or_repeat(
    start_service: StartService, start_proxy: StartProxy, product: Product
) -> None:
    proxy = await start_proxy(await start_service(auth="none"), changes=CUT_AFTER_A_SECOND[product.name])
    async with followers(proxy.url, STREAMS) as following:
        async with publishing(proxy.url) as told:
            await until(lambda: all_have(following, 20))
            await proxy.reload()
            await until(lambda: all_came_back(following), seconds=20)
            await until(lambda: all_have(following, len(told.positions)))
        await everything_arrived(following, told)


async def test_a_reload_as_configured_ends_no_stream(start_service: StartService, start_proxy: StartProxy) -> None:
    proxy = await start_proxy(await start_service(auth="none"))
    async with followers(proxy.url, STREAMS) as following:
        async with publishing(proxy.url) as told:
            await until(lambda: all_have(following, 20))
            await proxy.reload()
            at_reload = len(told.positions)
            await until(lambda: all_have(following, at_reload + 50))
        await everything_arrived(following, told)
        assert all(len(follower.visits) == 1 for follower in following)


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[Acknowledged]:
    """Facts at a steady pace meanwhile."""
    told, done = Acknowledged(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(keep_publishing(url, told, done, pause_seconds=PAUSE_SECONDS))
        yield told
        done.set()


async def everything_arrived(following: list[Follower], told: Acknowledged) -> None:
    head = max(told.positions.values())
    await until(lambda: all_have(following, head))
    for follower in following:
        assert follower.positions == list(range(1, head + 1))


async def all_came_back(following: list[Follower]) -> bool:
    return all(len(follower.visits) > 1 and follower.visits[-1].followed for follower in following)
