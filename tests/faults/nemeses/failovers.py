"""Primaries that are killed, and standbys that had everything, or not."""

import asyncio
import os
import subprocess
import sys

import asyncpg

from tests.faults import network
from tests.faults.nemeses.fault import Fault
from tests.faults.pair import Node, Pair
from tests.faults.site import Setup, Site
from tests.postgres import run_sql
from tests.service import ROOT, clean_environment

LOAD_SECONDS = 2.0
PROMOTION_SECONDS = 20.0
REPLAYED = "select pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() where $1::bool"
HEAD = "select coalesce(max(position), 0) from factwire.facts where $1::bool"
CANCEL = "select count(pg_cancel_backend(pid)) from pg_stat_activity where wait_event = 'SyncRep' and $1::bool"
STREAMING = "select count(*) = 0 from pg_stat_replication where $1::bool"


async def fail_over(site: Site) -> None:
    """To a synchronous standby: nothing may be missing."""
    pair = _pair(site)
    await asyncio.sleep(LOAD_SECONDS)
    pair.primary.kill()
    site.over()
    await asyncio.to_thread(pair.standby.promote)


async def fail_over_with_loss(site: Site) -> None:
    """To an asynchronous standby that stopped receiving a while ago: what is missing is to be told to everybody."""
    pair = _pair(site)
    await asyncio.sleep(LOAD_SECONDS)
    await _on(pair.standby, "alter system set primary_conninfo = ''")
    await _on(pair.standby, "select pg_reload_conf()")
    await _until(pair.primary, STREAMING)
    await asyncio.sleep(LOAD_SECONDS)
    pair.primary.kill()
    await _take_over(site, pair, acknowledged=True)


async def cancel_waits(site: Site) -> None:
    """Cancel the waits for a synchronous standby that is silent; then let it come back."""
    await _silence_and_cancel(site, _pair(site))
    network.heal()
    site.over()


async def fail_over_after_cancelled_waits(site: Site) -> None:
    """What was committed without the standby is lost: it was seen, but never acknowledged."""
    pair = _pair(site)
    await _silence_and_cancel(site, pair)
    pair.primary.kill()
    network.heal()
    await _take_over(site, pair, acknowledged=False)


async def _silence_and_cancel(site: Site, pair: Pair) -> None:
    await asyncio.sleep(LOAD_SECONDS)
    receiving = network.ports_connected_to(pair.primary.port, by=pair.standby.processes())
    network.forbid(*network.silence(receiving))
    for _ in range(20):
        await asyncio.sleep(0.15)
        await _on(pair.primary, CANCEL, True)


async def _take_over(site: Site, pair: Pair, *, acknowledged: bool) -> None:
    """Promote the standby, find out what it lacks, and raise the epoch as an operator does."""
    await _until(pair.standby, REPLAYED)
    forked_after: int = (await _on(pair.standby, HEAD, True))[0][0]
    await asyncio.to_thread(pair.standby.promote)
    site.lost(forked_after=forked_after, acknowledged=acknowledged)
    await asyncio.sleep(LOAD_SECONDS)  # facts are published over what was lost
    await asyncio.to_thread(raise_epoch, pair.url, forked_after)
    site.over()
    for number in range(2):
        site.follow_anew(f"follower-again-{number}", f"1:{forked_after}")


async def _on(node: Node, statement: str, *arguments: object) -> list[asyncpg.Record]:
    return await asyncio.to_thread(run_sql, node.url, statement, *arguments)


async def _until(node: Node, claim: str) -> None:
    async with asyncio.timeout(PROMOTION_SECONDS):
        while not (await _on(node, claim, True))[0][0]:
            await asyncio.sleep(0.05)


def _pair(site: Site) -> Pair:
    assert site.pair is not None
    return site.pair


def raise_epoch(url: str, forked_after: int) -> None:
    command = [sys.executable, "-m", "app", "epoch", "raise", "--forked-after", str(forked_after)]
    environment = clean_environment() | {"FACTWIRE_DATABASE_URL": url, "PATH": os.environ["PATH"]}
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=30, check=True)


SYNCHRONOUS = Setup(standby="synchronous")

FAULTS = (
    Fault("fail-over to a synchronous standby", 1, fail_over, SYNCHRONOUS, sites=2),
    Fault("fail-over that loses facts", 1, fail_over_with_loss, Setup(standby="asynchronous"), sites=2),
    Fault("waits for the standby cancelled", 3, cancel_waits, SYNCHRONOUS),
    Fault("fail-over after cancelled waits", 1, fail_over_after_cancelled_waits, SYNCHRONOUS, sites=2),
)
