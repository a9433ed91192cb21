"""Following: from the publish of a fact to its delivery to every open stream."""

import asyncio
from array import array
from time import perf_counter

from bench.client import ANSWER_SECONDS_MAX, Unexpected, garbage_collection_off, open_pipeline
from bench.facts import (
    NAMESPACE,
    SEQUENCE_DIGITS,
    SEQUENCE_MARKER,
    Requests,
    publishing,
    publishing_in_sequence,
    pushing,
)
from bench.measuring import Cost, Measure, Sample, percentile, until
from bench.options import Options
from bench.processes import Target
from bench.site import Phase, Scenario, Site
from bench.streams import Counting, Reading, close_streams, open_streams

FACTS_PER_SECOND = 100
# How many requests publishing may be ahead of delivery, averaged over the streams. Without a bound it outruns delivery
# a hundredfold, and what is measured is reading history.
FAN_OUT_REQUESTS_AHEAD = 2
_FAN_OUT_PUBLISHERS = 2
_EVERYTHING = "/v1/stream?after=head"
_DISTINCT_QUERIES = f"{_EVERYTHING}&namespace={NAMESPACE}&namespace=other-{{stream}}"
_PACED_CONNECTIONS = 16
_DELIVERY_SECONDS_MAX = 20.0
_LATENCIES = (Measure("delivery p50", "ms", "lower"), Measure("delivery p99", "ms", "lower"))
_DELIVERIES = (Measure("deliveries", "deliveries/s", "higher"),)


def scenarios(options: Options) -> list[Scenario]:
    most = options.streams_max
    return [
        *(
            _latency(f"100 facts a second reach {_streams(count)}", count)
            for count in sorted({1, min(100, most), most})
        ),
        *(
            _fan_out(f"Single facts fan out to {count} streams at full speed", count)
            for count in options.fan_out_streams
        ),
        _fan_out("Single facts fan out to 100 streams with 100 different queries", 100, target=_DISTINCT_QUERIES),
        _fan_out(f"Ten facts at a time fan out to {most} streams at full speed", most, facts_per_request=10),
        _two_workers(most),
    ]


def _streams(count: int) -> str:
    return "one stream" if count == 1 else f"{count} streams"


def _latency(name: str, streams: int) -> Scenario:
    async def measure(site: Site, target: Target) -> Sample:
        return _latency_sample(*await _deliver(site, target, streams))

    async def service(site: Site) -> Sample:
        async with site.service() as target:
            return await measure(site, target)

    async def floor(site: Site) -> Sample:
        async with site.floor() as target:
            return await measure(site, target)

    return Scenario(name, _LATENCIES, service, floor)


async def _deliver(site: Site, target: Target, streams: int) -> tuple[list[float], Cost, int]:
    """Seconds from publish to delivery at a fixed rate, in order of size; what it cost; and how many facts."""
    deliveries = Deliveries()
    opened = await open_streams(target.port, streams, deliveries)
    try:
        with garbage_collection_off():
            await _publish_paced(target, deliveries, site.options.warm_up_seconds)
            await _all_delivered(deliveries, streams)
            deliveries.forget_latencies()
            meter = site.meter(target)
            await meter.start()
            facts = await _publish_paced(target, deliveries, site.options.seconds)
            await _all_delivered(deliveries, streams)
            cost = await meter.stop()
    finally:
        await close_streams(opened)
    return sorted(deliveries.latencies_seconds), cost, facts


def _latency_sample(ordered: list[float], cost: Cost, facts: int) -> Sample:
    values = {_LATENCIES[0].name: percentile(ordered, 0.50) * 1e3, _LATENCIES[1].name: percentile(ordered, 0.99) * 1e3}
    details = {
        "delivery_max_ms": ordered[-1] * 1e3,
        "facts_per_second": facts / cost.seconds,
        "server_cpu_share": cost.server_cpu_seconds / cost.seconds,
        "client_cpu_share": cost.client_cpu_seconds / cost.seconds,
        **cost.per("delivery", len(ordered)),
    }
    return Sample(values, details)


class Deliveries:
    """Recognises each fact by the number in its payload, and knows when it was sent."""

    def __init__(self) -> None:
        self.facts = 0
        self.sent_at: list[float] = []
        self.latencies_seconds = array("d")
        self.next_request: Requests = publishing_in_sequence()

    def __call__(self, stream: Reading, chunk: bytes) -> None:
        received_at = perf_counter()
        seen = stream.tail + chunk
        at = seen.find(SEQUENCE_MARKER)
        while at >= 0:
            digits_at = at + len(SEQUENCE_MARKER)
            if digits_at + SEQUENCE_DIGITS > len(seen):
                break
            number = int(seen[digits_at : digits_at + SEQUENCE_DIGITS])
            self.latencies_seconds.append(received_at - self.sent_at[number])
            stream.facts += 1
            self.facts += 1
            at = seen.find(SEQUENCE_MARKER, digits_at)
        stream.tail = seen[1 - len(SEQUENCE_MARKER) - SEQUENCE_DIGITS :]

    def forget_latencies(self) -> None:
        self.latencies_seconds = array("d")


async def _publish_paced(target: Target, deliveries: Deliveries, seconds: float) -> int:
    """Publishes at a fixed rate, whatever the answers do; the clock of a fact starts when it is written.

    Over several connections: on one, requests are handled one after the other, and a server that cannot keep up would
    have no chance to take them together.
    """
    connections = [await open_pipeline(target.port) for _ in range(_PACED_CONNECTIONS)]
    facts = max(1, int(FACTS_PER_SECOND * seconds))
    started_at = perf_counter()
    for number in range(facts):
        await asyncio.sleep(started_at + number / FACTS_PER_SECOND - perf_counter())
        request = deliveries.next_request()
        deliveries.sent_at.append(perf_counter())
        connections[number % _PACED_CONNECTIONS].send(request)
    for index, connection in enumerate(connections):
        await connection.wait_answered(len(range(index, facts, _PACED_CONNECTIONS)))
        connection.close()
    return facts


async def _all_delivered(deliveries: Deliveries, streams: int) -> None:
    expected = len(deliveries.sent_at) * streams
    await until(
        lambda: deliveries.facts >= expected,
        seconds=_DELIVERY_SECONDS_MAX,
        what=f"{expected} deliveries to {streams} streams",
    )
    if deliveries.facts != expected:
        raise Unexpected(f"{deliveries.facts} deliveries of {expected}: facts were repeated")


def _fan_out(name: str, streams: int, *, facts_per_request: int = 1, target: str = _EVERYTHING) -> Scenario:
    async def service(site: Site) -> Sample:
        async with site.service() as running_service:
            fan_out = FanOut(streams, facts_per_request, publishing(facts_per_request), target)
            return await _fan_out_sample(site, running_service, fan_out)

    async def floor(site: Site) -> Sample:
        async with site.floor() as running_floor:
            fan_out = FanOut(streams, facts_per_request, pushing(facts_per_request), _EVERYTHING)
            return await _fan_out_sample(site, running_floor, fan_out)

    return Scenario(name, _DELIVERIES, service, floor)


def _two_workers(streams: int) -> Scenario:
    """Here the floor is one worker, and the ratio what the second one brings."""

    def workers(count: int) -> Phase:
        async def measure(site: Site) -> Sample:
            async with site.service(workers=count) as target:
                return await _fan_out_sample(site, target, FanOut(streams, 10, publishing(10), _EVERYTHING))

        return measure

    return Scenario(f"Two workers fan out to {streams} streams, beside one worker", _DELIVERIES, workers(2), workers(1))


async def _fan_out_sample(site: Site, target: Target, fan_out: "FanOut") -> Sample:
    opened = await open_streams(target.port, fan_out.streams, fan_out, target=fan_out.target)
    try:
        with garbage_collection_off():
            publishers = [asyncio.create_task(fan_out.publish(target)) for _ in range(_FAN_OUT_PUBLISHERS)]
            await asyncio.wait(publishers, timeout=site.options.warm_up_seconds)
            meter = site.meter(target)
            await meter.start()
            before = fan_out.facts
            await asyncio.wait(publishers, timeout=site.options.seconds)
            deliveries = fan_out.facts - before
            cost = await meter.stop()
            fan_out.open = False
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                await asyncio.gather(*publishers)
            await _each_delivered(fan_out, opened)
    finally:
        await close_streams(opened)
    details = {"facts_per_second": deliveries / fan_out.streams / cost.seconds, **cost.per("delivery", deliveries)}
    return Sample({_DELIVERIES[0].name: deliveries / cost.seconds}, details)


class FanOut(Counting):
    """Counts deliveries, and publishes only as far ahead of them as allowed."""

    def __init__(self, streams: int, facts_per_request: int, requests: Requests, target: str) -> None:
        super().__init__()
        self.open = True
        self.target = target
        self.published = 0
        self.streams = streams
        self._facts_per_request = facts_per_request
        self._requests = requests
        self._room = asyncio.Event()

    def __call__(self, stream: Reading, chunk: bytes) -> None:
        super().__call__(stream, chunk)
        if self._ahead() < FAN_OUT_REQUESTS_AHEAD:
            self._room.set()

    async def publish(self, target: Target) -> None:
        connection = await open_pipeline(target.port)
        answers = 0
        while self.open:
            while self._ahead() >= FAN_OUT_REQUESTS_AHEAD:
                self._room.clear()
                async with asyncio.timeout(_DELIVERY_SECONDS_MAX):
                    await self._room.wait()
            self.published += self._facts_per_request
            connection.send(self._requests())
            answers += 1
            await connection.wait_answered(answers)
        connection.close()

    def _ahead(self) -> float:
        return (self.published - self.facts / self.streams) / self._facts_per_request


async def _each_delivered(fan_out: FanOut, streams: list[Reading]) -> None:
    await until(
        lambda: all(stream.facts >= fan_out.published for stream in streams),
        seconds=_DELIVERY_SECONDS_MAX,
        what=f"{fan_out.published} facts on each of {len(streams)} streams",
    )
    if fan_out.facts != fan_out.published * len(streams):
        raise Unexpected(f"{fan_out.facts} deliveries of {fan_out.published * len(streams)}: facts were repeated")
