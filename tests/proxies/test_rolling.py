"""A rolling update under load: processes are replaced one by one, and nobody loses anything."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from factwire.store.schema.migrate import migrate
from tests.conftest import StartService
from tests.e2e.wire import Acknowledged, exported, keep_publishing
from tests.proxies.conftest import StartProxy
from tests.proxies.following import Follower, Visit, all_have, followers
from tests.proxies.metrics import publishes
from tests.proxies.versions import take_schema_back, unpack_version_before
from tests.support.service import ServiceProcess
from tests.support.waiting import until

pytestmark = [pytest.mark.proxies, pytest.mark.timeout(180)]

PROCESSES, PUBLISHERS, STREAMS = 3, 4, 30
PAUSE_SECONDS = 0.02
DRAIN_SECONDS = 4
LATE_SECONDS = 1.0


async def test_a_rolling_update_loses_and_repeats_nothing_and_spreads_the_reconnects(
    start_service: StartService, start_proxy: StartProxy
) -> None:
    services = [
        await start_service(auth="none", drain_seconds=DRAIN_SECONDS, retry_seconds=1) for _ in range(PROCESSES)
    ]
    proxy = await start_proxy(*services)
    async with load(proxy.url) as (told, following):
        await until(lambda: all_have(following, 20))
        stopped_at = [await replace(start_service, service) for service in services]
    assert no_stream_was_cut(following)
    ends = [since_the_stop(stopped_at, visit.left_at) for visit in drained(following)]
    returns = [since_the_stop(stopped_at, visit.came_at) for follower in following for visit in follower.visits[1:]]
    print(f"{len(told.positions)} facts, {len(told.problems)} publishes in doubt, {len(returns)} reconnects")
    print(f"of {DRAIN_SECONDS} s, streams ended in {min(ends):.1f} to {max(ends):.1f} s")
    assert max(ends) < DRAIN_SECONDS + LATE_SECONDS
    assert are_spread(ends, DRAIN_SECONDS)
    assert are_spread(returns, DRAIN_SECONDS)


async def test_the_version_before_and_this_one_serve_side_by_side_while_the_schema_is_migrated(
    start_service: StartService, start_proxy: StartProxy, fresh_database_url: str, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    await asyncio.to_thread(unpack_version_before, old)
    await asyncio.to_thread(take_schema_back, fresh_database_url)
    services = [await start_service(auth="none", tree=old, retry_seconds=1) for _ in range(PROCESSES)]
    proxy = await start_proxy(*services)
    async with load(proxy.url) as (told, following):
        await until(lambda: all_have(following, 20))
        await asyncio.to_thread(migrate, fresh_database_url)
        for service in services:
            before = len(told.positions)
            await until(lambda before=before: all_have(following, before + 50))
            assert (await asked(service, "/readyz")).is_success
            await replace(start_service, service)
    assert no_stream_was_cut(following)


def test_the_measure_of_spread_tells_a_herd_from_a_trickle() -> None:
    trickle = [0.1 * number for number in range(32)]
    assert are_spread(trickle, 4)
    assert not are_spread([0.5] * 32, 4)
    assert not are_spread([*trickle[:8], *[2 + 0.01 * number for number in range(24)]], 4)


@asynccontextmanager
async def load(url: str) -> AsyncIterator[tuple[Acknowledged, list[Follower]]]:
    """Publishers that repeat by id and streams that resume, meanwhile; then everything has arrived, and once."""
    told, done = Acknowledged(), asyncio.Event()
    async with followers(url, STREAMS) as following:
        async with asyncio.TaskGroup() as group:
            for _ in range(PUBLISHERS):
                group.create_task(keep_publishing(url, told, done, pause_seconds=PAUSE_SECONDS))
            yield told, following
            done.set()
        await everything_arrived(url, told, following)


async def replace(start_service: StartService, service: ServiceProcess) -> float:
    """Stop a process and start one of this version in its place; return when it was told to stop."""
    stopped_at = time.monotonic()
    assert await service.terminate() == 0
    new = await start_service(auth="none", port=service.port, drain_seconds=DRAIN_SECONDS, retry_seconds=1)
    # Only a process that the proxy uses again makes up for the next one.
    await until(lambda: publishes(new))
    return stopped_at


async def everything_arrived(url: str, told: Acknowledged, following: Sequence[Follower]) -> None:
    positions = {fact["id"]: fact["position"] for fact in await exported(url)}
    assert positions == told.positions
    await until(lambda: all_have(following, len(positions)))
    for follower in following:
        assert follower.positions == list(range(1, len(positions) + 1))


def no_stream_was_cut(following: Sequence[Follower]) -> bool:
    return all(visit.cleanly for follower in following for visit in follower.visits[:-1])


def drained(following: Sequence[Follower]) -> list[Visit]:
    return [visit for follower in following for visit in follower.visits[:-1] if visit.followed]


def since_the_stop(stopped_at: Sequence[float], at: float) -> float:
    """Seconds since the last process before was told to stop."""
    return at - max(moment for moment in stopped_at if moment <= at)


def are_spread(seconds: Sequence[float], over: float) -> bool:
    """Whether no eighth of the time sees most of them."""
    return all(sum(start <= second < start + over / 8 for second in seconds) * 2 < len(seconds) for start in seconds)


async def asked(service: ServiceProcess, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        return await client.get(path)
