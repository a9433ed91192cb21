"""Publishing: closed-loop clients that send their next request as soon as the last one is answered."""

import asyncio
from collections.abc import Callable

from bench.client import ANSWER_SECONDS_MAX, Publishing, Tally, Unexpected, ask, garbage_collection_off
from bench.facts import Requests, publishing, publishing_conditionally
from bench.measuring import Cost, Measure, Sample, percentile
from bench.processes import Target
from bench.site import Scenario, Site

_MEASURES = (Measure("facts published", "facts/s", "higher"),)


def scenarios() -> list[Scenario]:
    return [
        _scenario("One client publishes one fact per request", 1, 1),
        _scenario("32 clients publish one fact per request", 32, 1),
        _scenario("One client publishes 100 facts per request", 1, 100),
        _scenario("4 clients publish 100 facts per request", 4, 100),
        _scenario("32 clients publish one fact per request on a condition", 32, 1, requests=publishing_conditionally),
    ]


async def publish_all(target: Target, facts: int, *, facts_per_request: int = 1000, clients: int = 2) -> None:
    """Publishes exactly so many facts, as fast as it goes; `facts` is a multiple of `facts_per_request`."""
    requests, left = publishing(facts_per_request), facts // facts_per_request
    tally = Tally(requests)

    def next_request() -> bytes:
        nonlocal left
        left -= 1
        tally.open = left > 0
        return requests()

    tally.next_request = next_request
    await _finish(await _connect(target, tally, clients))
    await _expect_head(target, facts)


def _scenario(
    name: str, clients: int, facts_per_request: int, *, requests: Callable[[], Requests] | None = None
) -> Scenario:
    async def measure(site: Site, target: Target) -> Sample:
        _, before = await ask(target.port, "GET", "/v1/position")
        tally = Tally(requests() if requests else publishing(facts_per_request))
        cost, answered, latencies = await timed(site, target, tally, clients)
        await _expect_head(target, before["position"] + tally.answered * facts_per_request)
        facts = answered * facts_per_request
        return Sample(
            {_MEASURES[0].name: facts / cost.seconds},
            {
                "requests_per_second": answered / cost.seconds,
                "answer_p50_ms": percentile(latencies, 0.50) * 1e3,
                "answer_p99_ms": percentile(latencies, 0.99) * 1e3,
                **cost.per("fact", facts),
            },
        )

    async def service(site: Site) -> Sample:
        async with site.service() as target:
            return await measure(site, target)

    async def floor(site: Site) -> Sample:
        async with site.floor() as target:
            return await measure(site, target)

    return Scenario(name, _MEASURES, service, floor)


async def timed(site: Site, target: Target, tally: Tally, clients: int) -> tuple[Cost, int, list[float]]:
    """The cost of the timed window, the requests answered in it, and their latencies in order of size."""
    meter = site.meter(target)
    with garbage_collection_off():
        connections = await _connect(target, tally, clients)
        await asyncio.sleep(site.options.warm_up_seconds)
        await meter.start()
        answered_before = tally.answered
        answers = [connection.finished for connection in connections]
        await asyncio.wait(answers, timeout=site.options.seconds, return_when=asyncio.FIRST_EXCEPTION)
        answered = tally.answered - answered_before
        cost = await meter.stop()
        tally.open = False
        await _finish(connections)
    latencies = sorted(tally.latencies_seconds[answered_before : answered_before + answered])
    if not latencies:
        raise Unexpected("no request was answered in the timed window")
    return cost, answered, latencies


async def _connect(target: Target, tally: Tally, clients: int) -> list[Publishing]:
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(lambda: Publishing(tally), "127.0.0.1", target.port) for _ in range(clients)]
    return [connection for _, connection in opened]


async def _finish(connections: list[Publishing]) -> None:
    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        await asyncio.gather(*(connection.finished for connection in connections))


async def _expect_head(target: Target, position: int) -> None:
    """Everything that was answered is in the log, and nothing else."""
    status, answer = await ask(target.port, "GET", "/v1/position")
    if status != 200 or answer["position"] != position:
        raise Unexpected(f"{position} facts were acknowledged, but GET /v1/position says {status} {answer}")
