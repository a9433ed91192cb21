"""Filtered pages that begin anywhere in a log. They have no floor: the goal is a time."""

import random
from statistics import median
from time import perf_counter

from bench.client import Unexpected, ask
from bench.growth.loading import HOT_AGGREGATE_ID
from bench.processes import Target

_PAGES = 100
_FILTERS = {
    "one aggregate id of 100 000 facts": f"aggregate_id={HOT_AGGREGATE_ID}",
    "one type of 24": "type=Type07",
    "two keys": "aggregate_id=customer-0043&meta=tenant:tenant-07",
}


async def page_milliseconds(target: Target, facts: int) -> dict[str, float]:
    """The median time of a page of 100, over HTTP, for each kind of filter."""
    return {name: await _median(target, filters, facts) for name, filters in _FILTERS.items()}


async def _median(target: Target, filters: str, facts: int) -> float:
    chance = random.Random(facts)
    seconds = []
    for _ in range(_PAGES):
        after = chance.randrange(facts)
        started_at = perf_counter()
        status, _ = await ask(target.port, "GET", f"/v1/facts?{filters}&limit=100&after={after}")
        seconds.append(perf_counter() - started_at)
        if status != 200:
            raise Unexpected(f"a page was answered with {status}")
    return median(seconds) * 1e3
