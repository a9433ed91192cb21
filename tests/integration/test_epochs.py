"""Raising the epoch beside others who hold the lock of the log."""

import asyncio

from factwire.store.log import raise_epoch
from tests.integration.logs import connected, fact, store, waiting_for_a_lock
from tests.support.waiting import until

LOCK_LOG = "select factwire.lock_log()"
COUNT_AN_ERASURE = "update factwire.log set erasures = erasures + 1"


async def test_raising_the_epoch_beside_an_erasure_is_no_deadlock(database_url: str) -> None:
    async with connected(database_url, 3) as [erasing, raising, watcher]:
        async with erasing.transaction():
            await erasing.execute(LOCK_LOG)
            raised = asyncio.create_task(raise_epoch(raising, forked_after=None, by="test"))
            await until(lambda: waiting_for_a_lock(watcher))
            await erasing.execute(COUNT_AN_ERASURE)
        assert (await raised)[1] == 0


async def test_what_is_published_while_it_waits_is_not_above_the_fork(database_url: str) -> None:
    async with connected(database_url, 3) as [publishing, raising, watcher]:
        async with publishing.transaction():
            await store(publishing, [fact(), fact()])
            raised = asyncio.create_task(raise_epoch(raising, forked_after=None, by="test"))
            await until(lambda: waiting_for_a_lock(watcher))
        assert (await raised)[1] == 2
