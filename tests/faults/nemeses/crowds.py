"""Thousands of followers, and a SIGTERM to the service that they are connected to."""

from tests.faults.followers import Follower
from tests.faults.nemeses.fault import Fault
from tests.faults.site import Setup, Site
from tests.support.waiting import until

FOLLOWERS = 9_000
AT_ONCE = 500
CROWD_SECONDS = 60.0
FACTS = 5


async def end_a_crowded_service(site: Site) -> None:
    """All streams end cleanly, and all followers go on at the other service without a gap."""
    leaving, staying = site.services
    crowd = [Follower(site.shared, f"crowd-{number}", first_url=leaving.url) for number in range(FOLLOWERS)]
    for begin in range(0, FOLLOWERS, AT_ONCE):
        for follower in crowd[begin : begin + AT_ONCE]:
            site.follow(follower)
        await until(lambda end=begin + AT_ONCE: all(it.position for it in crowd[:end]), seconds=CROWD_SECONDS)
    for _ in range(FACTS):
        await site.publishes(leaving.url)
    leaving.process.terminate()
    site.over()
    for _ in range(FACTS):
        await site.publishes(staying.url)
    exit_code = await leaving.ended()
    head = await site.publishes(staying.url)
    await until(lambda: all(it.position >= head for it in crowd), seconds=CROWD_SECONDS)
    site.restart(leaving)
    cut = sum(it.cuts for it in crowd)
    if exit_code or cut:
        raise AssertionError(f"the service ended with {exit_code}, and {cut} streams were cut")


FAULTS = (
    Fault(
        "SIGTERM beside 9 000 followers",
        1,
        end_a_crowded_service,
        Setup(workers=(1, 1), quiet=True, settings={"drain_seconds": 5}),
    ),
)
