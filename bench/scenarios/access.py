"""Access: what asking for keys costs a publish. The floor is the same service without them."""

from bench.client import Tally
from bench.facts import NAMESPACE, publishing
from bench.measuring import Measure, Sample, percentile
from bench.processes import Target, python
from bench.scenarios.publish import timed
from bench.site import Scenario, Site, run_to_end

CLIENTS = 32

_MEASURES = (Measure("facts published", "facts/s", "higher"),)


def scenarios() -> list[Scenario]:
    return [Scenario("32 clients publish one fact per request with a key, and without", _MEASURES, with_keys, without)]


async def with_keys(site: Site) -> Sample:
    async with site.log() as database:
        command = python("app", "keys", "create", "bench", "--publish", NAMESPACE)
        made = await run_to_end(command, {"FACTWIRE_DATABASE_URL": site.cluster.url(database)})
        async with site.service(database, auth="keys") as target:
            return await measure(site, target, key=made.decode().strip())


async def without(site: Site) -> Sample:
    async with site.service() as target:
        return await measure(site, target, key="")


async def measure(site: Site, target: Target, *, key: str) -> Sample:
    cost, answered, latencies = await timed(site, target, Tally(publishing(1, key=key)), CLIENTS)
    return Sample(
        {_MEASURES[0].name: answered / cost.seconds},
        {
            "answer_p50_ms": percentile(latencies, 0.50) * 1e3,
            "answer_p99_ms": percentile(latencies, 0.99) * 1e3,
            **cost.per("fact", answered),
        },
    )
