"""Access: what asking for keys costs those who publish. The floor is the same service without them."""

from collections.abc import Callable
from functools import partial

from bench.client import Tally
from bench.facts import NAMESPACE, Requests, publishing, publishing_conditionally
from bench.measuring import Measure, Sample, percentile
from bench.processes import Target, python
from bench.scenarios.publish import timed
from bench.site import Scenario, Site, run_to_end

CLIENTS = 32

_MEASURES = (Measure("facts published", "facts/s", "higher"),)

RequestsOf = Callable[[str], Requests]
"""The requests of those who come with a key, or with none."""


def scenarios() -> list[Scenario]:
    return [
        _scenario(
            "32 clients publish one fact per request, with a key and without", lambda key: publishing(1, key=key)
        ),
        _scenario(
            "32 clients publish one fact per request on a condition, with a key and without",
            lambda key: publishing_conditionally(key=key),
        ),
    ]


def _scenario(name: str, requests: RequestsOf) -> Scenario:
    return Scenario(name, _MEASURES, partial(with_keys, requests), partial(without, requests))


async def with_keys(requests: RequestsOf, site: Site) -> Sample:
    """The key is that of a team: what it may read is restricted."""
    async with site.log() as database:
        command = python("factwire", "keys", "create", "bench", "--publish", NAMESPACE, "--read", NAMESPACE)
        made = await run_to_end(command, {"FACTWIRE_DATABASE_URL": site.cluster.url(database)})
        async with site.service(database, auth="keys") as target:
            return await measure(site, target, requests(made.decode().strip()))


async def without(requests: RequestsOf, site: Site) -> Sample:
    async with site.service() as target:
        return await measure(site, target, requests(""))


async def measure(site: Site, target: Target, requests: Requests) -> Sample:
    cost, answered, latencies = await timed(site, target, Tally(requests), CLIENTS)
    return Sample(
        {_MEASURES[0].name: answered / cost.seconds},
        {
            "answer_p50_ms": percentile(latencies, 0.50) * 1e3,
            "answer_p99_ms": percentile(latencies, 0.99) * 1e3,
            **cost.per("fact", answered),
        },
    )
