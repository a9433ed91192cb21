"""Processes that are stopped for a while, and do not know it."""

import asyncio
import signal

import asyncpg
import psutil

from tests.faults import network
from tests.faults.nemeses.fault import Fault
from tests.faults.site import Setup, Site

SECONDS = (1, 5, 30)
OTHERS_SECONDS = 5.0
LOCK = "select pg_advisory_xact_lock(lock_key) from factwire.log"
WAITS = """
select count(*) from pg_stat_activity
 where wait_event = 'advisory' and application_name = 'factwire append' and client_port = any ($1)
"""


async def stop_service(site: Site) -> None:
    service = site.random.choice(site.services)
    service.stop()
    await asyncio.sleep(SECONDS[site.round % len(SECONDS)])
    service.cont()
    site.over()


async def stop_in_the_middle_of_an_append(site: Site) -> None:
    """Stop a service while its append waits for the lock, so that it gets the lock while it is stopped."""
    service = site.services[0]
    appending = network.ports_connected_to(site.node.port, by=[psutil.Process(service.pid)])
    holder, watcher = await asyncpg.connect(site.node.url), await asyncpg.connect(site.node.url)
    try:
        async with holder.transaction():
            await holder.execute(LOCK)
            async with asyncio.timeout(OTHERS_SECONDS):
                while not await watcher.fetchval(WAITS, appending):
                    await asyncio.sleep(0.01)
            service.stop()
        async with asyncio.timeout(OTHERS_SECONDS):
            await site.publishes(site.services[1].url)
    finally:
        service.cont()
        await holder.close()
        await watcher.close()
    site.over()


async def stop_postgres(site: Site) -> None:
    site.node.signal_all(signal.SIGSTOP)
    await asyncio.sleep(SECONDS[site.round % len(SECONDS)])
    site.node.signal_all(signal.SIGCONT)
    site.over()


FAULTS = (
    Fault("SIGSTOP of a service, 1 to 30 s", 3, stop_service),
    Fault("SIGSTOP in the middle of an append", 10, stop_in_the_middle_of_an_append, Setup(workers=(1, 1))),
    Fault("SIGSTOP of PostgreSQL, 1 to 30 s", 3, stop_postgres),
)
