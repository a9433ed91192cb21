"""A fork of history that some processes notice and another one cannot know of."""

import asyncio

from tests.faults.clients import Publisher
from tests.faults.deciders import Decider
from tests.faults.importers import Importer
from tests.faults.nemeses.failovers import fall_behind, pair_of, promote, raise_the_epoch
from tests.faults.nemeses.fault import Fault
from tests.faults.site import Setup, Site

NEW_SECONDS = 30.0
FACTS_OVER_THE_LOST = 5


async def publish_beside_a_noticed_fork(site: Site) -> None:
    """A service that has seen nothing of what was lost publishes over it, until the others notice; then none does.

    The others are stopped meanwhile, or they would notice before it has begun.
    """
    pair = pair_of(site)
    newcomer = site.join(f"{pair.standby.url}?target_session_attrs=read-write")
    await fall_behind(pair)
    pair.primary.kill()
    others = [service for service in site.services if service is not newcomer]
    for service in others:
        service.stop()
    try:
        await promote(site, pair, acknowledged=True)
        await newcomer.ready()
        first = Publisher(site.shared, "newcomer-first", url=newcomer.url)
        async with asyncio.timeout(NEW_SECONDS):
            for _ in range(FACTS_OVER_THE_LOST):
                await first.until_acknowledged(*first.batch(2), None)
        for number, kind in enumerate((Publisher, Publisher, Publisher, Decider, Importer)):
            site.let_run(kind(site.shared, f"newcomer-{number}", url=newcomer.url))
    finally:
        for service in others:
            service.cont()
    await raise_the_epoch(site, pair)
    async with asyncio.timeout(NEW_SECONDS):
        while not await first.until_acknowledged(*first.batch(1), None):
            pass


FAULTS = (
    Fault(
        "publishes beside a noticed fork",
        1,
        publish_beside_a_noticed_fork,
        Setup(standby="asynchronous", beside=(Decider, Decider, Importer)),
        sites=2,
    ),
)
