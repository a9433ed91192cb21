"""Reading history over one connection, as fast as it comes."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from typing import cast

from bench.client import Unexpected, garbage_collection_off
from bench.facts import FACT_MARKER, request_bytes
from bench.floors.copying import Copied, Format
from bench.measuring import Measure, Sample
from bench.processes import Target, python
from bench.scenarios.publish import publish_all
from bench.site import History, Phase, Scenario, Site, run_to_end
from bench.streams import Counting, close_streams, open_streams

_MEASURES = (Measure("facts read", "facts/s", "higher"),)
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_PASS_SECONDS_MAX = 60.0

Pass = Callable[[Target, int], Awaitable[int]]


def scenarios() -> list[Scenario]:
    return [
        Scenario("A stream catches up with history", _MEASURES, _service(_follow), _floor),
        Scenario("History is exported as NDJSON", _MEASURES, _service(_export), _floor),
    ]


def _service(read: Pass) -> Phase:
    async def service(site: Site) -> Sample:
        loaded = await _loaded(site)
        async with site.service(loaded.database) as target:
            await _complete(site, target, read, loaded.after)
            meter = site.meter(target)
            facts, seconds = 0, 0.0
            with garbage_collection_off():
                await meter.start()
                while seconds < site.options.seconds:
                    started_at = perf_counter()
                    facts += await _complete(site, target, read, loaded.after)
                    seconds += perf_counter() - started_at
                cost = await meter.stop()
            return Sample({_MEASURES[0].name: facts / seconds}, cost.per("fact", facts))

    return service


async def _floor(site: Site) -> Sample:
    copied, binary = await _copied(site, "text"), await _copied(site, "binary")
    details = {
        "mebibytes_per_second": copied.mebibytes / copied.seconds,
        "client_cpu_us_per_fact": copied.cpu_seconds * 1e6 / copied.facts,
        "binary_facts_per_second": binary.facts / binary.seconds,
        "binary_client_cpu_us_per_fact": binary.cpu_seconds * 1e6 / binary.facts,
    }
    return Sample({_MEASURES[0].name: copied.facts / copied.seconds}, details)


async def _copied(site: Site, form: Format) -> Copied:
    """Copying in a process of its own, as the service is."""
    loaded = await _loaded(site)
    url, seconds = site.cluster.url(loaded.database), str(site.options.seconds)
    copied = Copied(
        **json.loads(await run_to_end(python("bench.floors", "copy", seconds, url, form, str(loaded.after))))
    )
    if copied.facts == 0 or copied.facts % site.options.facts:
        raise Unexpected(f"the copies held {copied.facts} facts, which is not a multiple of {site.options.facts}")
    return copied


async def _loaded(site: Site) -> History:
    return await site.history(partial(publish_all, facts=site.options.facts))


async def _complete(site: Site, target: Target, read: Pass, after: int) -> int:
    async with asyncio.timeout(_PASS_SECONDS_MAX):
        facts = await read(target, after)
    if facts != site.options.facts:
        raise Unexpected(f"{facts} facts arrived, {site.options.facts} are stored")
    return facts


async def _follow(target: Target, after: int) -> int:
    counting = Counting()
    streams = await open_streams(target.port, 1, counting, target=f"/v1/stream?after={after}")
    await close_streams(streams)
    return counting.facts


async def _export(target: Target, after: int) -> int:
    loop = asyncio.get_running_loop()
    reading = Exporting(after)
    await loop.create_connection(lambda: reading, "127.0.0.1", target.port)
    return await reading.finished


class Exporting(asyncio.Protocol):
    """Counts facts up to the last chunk of the answer: an export that is cut has none."""

    def __init__(self, after: int) -> None:
        self._after = after
        self.finished: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._facts = 0
        self._tail = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(request_bytes("GET", f"/v1/facts/export?after={self._after}"))

    def data_received(self, data: bytes) -> None:
        seen = self._tail + data
        self._facts += seen.count(FACT_MARKER) - self._tail.count(FACT_MARKER)
        self._tail = seen[-64:]
        if seen.endswith(_LAST_CHUNK):
            self.finished.set_result(self._facts)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self.finished.set_exception(Unexpected(f"the export was cut after {self._facts} facts: {exc}"))
