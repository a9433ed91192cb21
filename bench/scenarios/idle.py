"""What streams cost that follow a log on which nothing happens."""

import asyncio

from bench.measuring import Measure, Sample
from bench.options import Options
from bench.processes import Target
from bench.site import Scenario, Site
from bench.streams import Reading, close_streams, open_streams

_WARM_UP_STREAMS = 50
_MEASURES = (Measure("memory per stream", "KiB", "lower"), Measure("idle CPU", "% of a core", "lower"))


def scenarios(options: Options) -> list[Scenario]:
    count = options.idle_streams
    name = f"{count:,} idle streams are held".replace(",", " ")

    async def service(site: Site) -> Sample:
        async with site.service() as target:
            return await _measure(site, target, count)

    async def floor(site: Site) -> Sample:
        async with site.floor() as target:
            return await _measure(site, target, count)

    return [Scenario(name, _MEASURES, service, floor)]


async def _measure(site: Site, target: Target, count: int) -> Sample:
    await close_streams(await open_streams(target.port, _WARM_UP_STREAMS, _ignore))
    await asyncio.sleep(site.options.warm_up_seconds)
    before = target.rss_kibibytes()
    streams = await open_streams(target.port, count, _ignore)
    try:
        await asyncio.sleep(site.options.warm_up_seconds)
        meter = site.meter(target)
        await meter.start()
        await asyncio.sleep(site.options.idle_seconds)
        cost = await meter.stop()
        after = target.rss_kibibytes()
    finally:
        await close_streams(streams)
    values = {
        _MEASURES[0].name: (after - before) / count,
        _MEASURES[1].name: cost.server_cpu_seconds / cost.seconds * 100,
    }
    details = {
        "rss_before_mebibytes": before / 1024,
        "rss_after_mebibytes": after / 1024,
        "postgres_cpu_percent": cost.postgres_cpu_seconds / cost.seconds * 100,
    }
    return Sample(values, details)


def _ignore(stream: Reading, chunk: bytes) -> None:
    """What arrives is not looked at."""
