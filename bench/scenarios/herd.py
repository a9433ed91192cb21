"""What happens when all streams come back at once, as after a restart, while facts are published."""

import asyncio
from time import perf_counter

from bench.client import ask, open_pipeline
from bench.facts import publishing
from bench.measuring import Measure, Sample
from bench.options import Options
from bench.processes import Target
from bench.site import Scenario, Site
from bench.streams import Reading, close_streams, open_streams

_PUBLISHES_PER_SECOND = 100
_PUBLISH_SECONDS_MAX = 30.0
_MEASURES = (
    Measure("until all are served", "s", "lower"),
    Measure("slowest publish meanwhile", "ms", "lower"),
)


def scenarios(options: Options) -> list[Scenario]:
    count = options.herd_streams
    name = f"{count:,} streams reconnect at once".replace(",", " ")

    async def service(site: Site) -> Sample:
        async with site.service() as target:
            return await _measure(target, count)

    async def floor(site: Site) -> Sample:
        async with site.floor() as target:
            return await _measure(target, count)

    return [Scenario(name, _MEASURES, service, floor)]


async def _measure(target: Target, count: int) -> Sample:
    await close_streams(await open_streams(target.port, count, _ignore))
    _, head = await ask(target.port, "GET", "/v1/position")
    latencies: list[float] = []
    all_served = asyncio.Event()
    publishing_on = asyncio.create_task(_publish(target, latencies, until=all_served))
    await asyncio.sleep(0.5)
    latencies.clear()
    started_at = perf_counter()
    resumed = f"/v1/stream?after={head['position']}"
    streams = await open_streams(target.port, count, _ignore, target=resumed, at_once=count)
    seconds = perf_counter() - started_at
    all_served.set()
    async with asyncio.timeout(_PUBLISH_SECONDS_MAX):
        await publishing_on
    await close_streams(streams)
    return Sample({_MEASURES[0].name: seconds, _MEASURES[1].name: max(latencies) * 1e3})


async def _publish(target: Target, latencies: list[float], *, until: asyncio.Event) -> None:
    """One publish after the other, at a fixed pace, the one included that is under way at the end."""
    connection, requests, answers = await open_pipeline(target.port), publishing(1), 0
    try:
        while True:
            started_at = perf_counter()
            connection.send(requests())
            answers += 1
            await connection.wait_answered(answers)
            latencies.append(perf_counter() - started_at)
            if until.is_set():
                return
            await asyncio.sleep(max(0.0, started_at + 1 / _PUBLISHES_PER_SECOND - perf_counter()))
    finally:
        connection.close()


def _ignore(stream: Reading, chunk: bytes) -> None:
    """What arrives is not looked at."""
