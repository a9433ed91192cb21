"""What is measured at each size."""

import asyncio
import random
from statistics import median
from time import perf_counter

from bench.client import Tally, Unexpected, ask, garbage_collection_off
from bench.facts import Requests, publishing, publishing_conditionally
from bench.growth.loading import HOT_AGGREGATE_ID
from bench.measuring import percentile
from bench.processes import Target
from bench.scenarios.live import latencies
from bench.scenarios.publish import timed
from bench.site import Site
from bench.streams import Counting, close_streams, open_streams

_PAGES = 60
_HISTORY_FACTS_MAX = 200_000
_PAGES_OF = {
    "one aggregate id": f"aggregate_id={HOT_AGGREGATE_ID}",
    "one type of 24": "type=Type07",
    "two keys": "aggregate_id=customer-0043&meta=tenant:tenant-07",
}


async def measure(site: Site, target: Target, facts: int) -> dict[str, float]:
    """One figure a name; the unit stands in the name."""
    figures: dict[str, float] = {}
    for name, requests, clients, per_request in (
        ("publish, 1 client, facts/s", publishing(1), 1, 1),
        ("publish, 32 clients, facts/s", publishing(1), 32, 1),
        ("publish, 32 clients on a condition, facts/s", _conditions(facts), 32, 1),
        ("publish, 100 a request, facts/s", publishing(100), 1, 100),
    ):
        cost, answered, _ = await timed(site, target, Tally(requests), clients)
        figures[name] = answered * per_request / cost.seconds
    figures["history, facts/s"] = await _history(target, facts)
    for name, filters in _PAGES_OF.items():
        figures[f"page of 100, {name}, ms"] = await _page_ms(target, filters, facts)
    seconds = await latencies(site, target, 1)
    figures["delivery p50, ms"] = percentile(seconds, 0.50) * 1e3
    figures["delivery p99, ms"] = percentile(seconds, 0.99) * 1e3
    return figures


def _conditions(facts: int) -> Requests:
    """Each run is about orders of its own, as the log keeps those of the runs before."""
    requests = publishing_conditionally()
    old, new = b"order-", b"order-%d-" % facts
    return lambda: _resized(requests().replace(old, new))


def _resized(request: bytes) -> bytes:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length")]
    return b"\r\n".join([*lines, b"content-length: %d" % len(body)]) + b"\r\n\r\n" + body


async def _history(target: Target, facts: int) -> float:
    """Catching up with the oldest facts, as far as the log had them before anything was measured."""
    wanted = min(facts, _HISTORY_FACTS_MAX)
    _, position = await ask(target.port, "GET", "/v1/position")
    first = position["position"] - wanted
    rates = []
    with garbage_collection_off():
        for _ in range(3):
            counting = Counting()
            started_at = perf_counter()
            streams = await open_streams(target.port, 1, counting, target=f"/v1/stream?after={first}")
            rates.append(wanted / (perf_counter() - started_at))
            await close_streams(streams)
            if counting.facts < wanted:
                raise Unexpected(f"{counting.facts} facts of {wanted} arrived")
    return median(rates)


async def _page_ms(target: Target, filters: str, facts: int) -> float:
    """The median of pages that begin anywhere in the log."""
    chance = random.Random(facts)
    seconds = []
    for _ in range(_PAGES):
        after = chance.randrange(facts)
        started_at = perf_counter()
        status, _ = await ask(target.port, "GET", f"/v1/facts?{filters}&limit=100&after={after}")
        seconds.append(perf_counter() - started_at)
        if status != 200:
            raise Unexpected(f"a page was answered with {status}")
        await asyncio.sleep(0)
    return median(seconds) * 1e3
