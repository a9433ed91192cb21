"""Erasures in doubt: the synchronous standby is away, the waits for it are cancelled, and then there is a fail-over."""

import asyncio

from tests.faults import network
from tests.faults.erasers import Eraser
from tests.faults.nemeses.failovers import fail_over, pair_of, promote, raise_the_epoch, silence_and_cancel
from tests.faults.nemeses.fault import Fault
from tests.faults.pair import Pair
from tests.faults.site import Setup, Site
from tests.support.postgres import run_sql
from tests.support.waiting import until

ERASED_SECONDS = 60.0
MASTER_KEY = "ZmFjdHdpcmUgZmF1bHRzOiBhIG1hc3RlciBrZXkgICE="
HELD = "select id from factwire.data_subjects where wrapped_key is not null and $1::bool"


async def erase_and_lose(site: Site) -> None:
    """The standby has nothing of what was in doubt: only what was never acknowledged may be undone."""
    pair = pair_of(site)
    await _doubt(site, pair)
    pair.primary.kill()
    network.heal()
    await promote(site, pair, acknowledged=False)
    await _look_for_keys(site)
    await raise_the_epoch(site, pair)
    await _until_erased(site)
    await _look_for_keys(site)


async def erase_and_fail_over(site: Site) -> None:
    """The standby comes back, and what was in doubt is repeated and acknowledged before the fail-over."""
    await _doubt(site, pair_of(site))
    network.heal()
    await _until_erased(site)
    await fail_over(site)
    await _look_for_keys(site)
    await _until_erased(site)


async def _doubt(site: Site, pair: Pair) -> None:
    """A client that was never in doubt proves nothing."""
    before = sum(client.doubts for client in _erasers(site))
    for _ in range(3):
        await silence_and_cancel(pair)
        if sum(client.doubts for client in _erasers(site)) > before:
            return
    raise AssertionError("no erasure was in doubt")


async def _until_erased(site: Site) -> None:
    before = sum(client.acknowledged for client in _erasers(site))
    await until(lambda: sum(client.acknowledged for client in _erasers(site)) >= before + 4, seconds=ERASED_SECONDS)


async def _look_for_keys(site: Site) -> None:
    """Record whose keys the new primary holds."""
    rows = await asyncio.to_thread(run_sql, pair_of(site).standby.url, HELD, True)
    site.holds_keys_of([row["id"] for row in rows])


def _erasers(site: Site) -> list[Eraser]:
    return [client for client in site.beside if isinstance(client, Eraser)]


ERASERS = Setup(standby="synchronous", beside=(Eraser, Eraser, Eraser), settings={"master_key": MASTER_KEY})

FAULTS = (
    Fault("erasures in doubt, and a fail-over that loses them", 1, erase_and_lose, ERASERS, sites=2),
    Fault("erasures in doubt, repeated, and a fail-over", 1, erase_and_fail_over, ERASERS, sites=2),
)
