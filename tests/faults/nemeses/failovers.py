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
from tests.support.postgres import run_sql
from tests.support.service import ROOT, clean_environment
from tests.support.waiting import until

LOAD_SECONDS = 2.0
PROMOTION_SECONDS = 20.0
NOTICE_SECONDS = 20.0
REPLAYED = "select pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() where $1::bool"
HEAD = "select coalesce(max(position), 0) from factwire.facts where $1::bool"
CANCEL = "select count(pg_cancel_backend(pid)) from pg_stat_activity where wait_event = 'SyncRep' and $1::bool"
STREAMING = "select count(*) = 0 from pg_stat_replication where $1::bool"


async def fail_over(site: Site) -> None:
    """To a synchronous standby: nothing may be missing."""
    pair = pair_of(site)
    await asyncio.sleep(LOAD_SECONDS)
    pair.primary.kill()
    site.over()
    await asyncio.to_thread(pair.standby.promote)


async def fail_over_with_loss(site: Site) -> None:
    """To an asynchronous standby that stopped receiving a while ago: what is missing is to be told to everybody."""
    pair = pair_of(site)
    await fall_behind(pair)
    pair.primary.kill()
    await promote(site, pair, acknowledged=True)
    await raise_the_epoch(site, pair)


async def cancel_waits(site: Site) -> None:
    """Cancel the waits for a synchronous standby that is silent; then let it come back."""
    await silence_and_cancel(pair_of(site))
    network.heal()
    site.over()


async def fail_over_after_cancelled_waits(site: Site) -> None:
    """What was committed without the standby is lost: it was seen, but never acknowledged."""
    pair = pair_of(site)
    await silence_and_cancel(pair)
    pair.primary.kill()
    network.heal()
    await promote(site, pair, acknowledged=False)
    await raise_the_epoch(site, pair)


async def fall_behind(pair: Pair) -> None:
    """Let an asynchronous standby receive nothing any more, under load."""
    await asyncio.sleep(LOAD_SECONDS)
    await _on(pair.standby, "alter system set primary_conninfo = ''")
    await _on(pair.standby, "select pg_reload_conf()")
    await _until(pair.primary, STREAMING)
    await asyncio.sleep(LOAD_SECONDS)


async def silence_and_cancel(pair: Pair) -> None:
    """Lose what goes to a synchronous standby, and cancel the waits for it again and again."""
    await asyncio.sleep(LOAD_SECONDS)
    receiving = network.ports_connected_to(pair.primary.port, by=pair.standby.processes())
    network.forbid(*network.silence(receiving))
    for _ in range(20):
        await asyncio.sleep(0.15)
        await _on(pair.primary, CANCEL, True)


async def promote(site: Site, pair: Pair, *, acknowledged: bool) -> None:
    """Find out what the standby lacks, and promote it."""
    await _until(pair.standby, REPLAYED)
    forked_after: int = (await _on(pair.standby, HEAD, True))[0][0]
    await asyncio.to_thread(pair.standby.promote)
    site.lost(forked_after=forked_after, acknowledged=acknowledged)


async def raise_the_epoch(site: Site, pair: Pair) -> None:
    """Let the loss be noticed, which ends all publishing, and raise the epoch as an operator does."""
    assert site.loss is not None
    forked_after = site.loss.forked_after
    await until(site.shared.forked.is_set, seconds=NOTICE_SECONDS)
    await asyncio.sleep(LOAD_SECONDS)  # clients try to publish, to import and to erase
    since = site.recorder.now()
    site.raised(since, await asyncio.to_thread(raise_epoch, pair.url, forked_after))
    site.over()
    for number in range(2):
        site.follow_anew(f"follower-again-{number}", f"1:{forked_after}")


async def _on(node: Node, statement: str, *arguments: object) -> list[asyncpg.Record]:
    return await asyncio.to_thread(run_sql, node.url, statement, *arguments)


async def _until(node: Node, claim: str) -> None:
    async with asyncio.timeout(PROMOTION_SECONDS):
        while not (await _on(node, claim, True))[0][0]:
            await asyncio.sleep(0.05)


def pair_of(site: Site) -> Pair:
    assert site.pair is not None
    return site.pair


def raise_epoch(url: str, forked_after: int) -> int:
    command = [sys.executable, "-m", "factwire", "epoch", "raise", "--forked-after", str(forked_after)]
    environment = clean_environment() | {"FACTWIRE_DATABASE_URL": url, "PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=30, check=True, text=True)
    return int(done.stdout.removeprefix("The epoch is ").partition(".")[0])


SYNCHRONOUS = Setup(standby="synchronous")

FAULTS = (
    Fault("fail-over to a synchronous standby", 1, fail_over, SYNCHRONOUS, sites=2),
    Fault("fail-over that loses facts", 1, fail_over_with_loss, Setup(standby="asynchronous"), sites=2),
    Fault("waits for the standby cancelled", 3, cancel_waits, SYNCHRONOUS),
    Fault("fail-over after cancelled waits", 1, fail_over_after_cancelled_waits, SYNCHRONOUS, sites=2),
)
