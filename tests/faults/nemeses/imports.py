"""Imports that are broken off in every way, and repeated."""

import asyncio
from dataclasses import replace

import asyncpg

from tests.faults.importers import Importer
from tests.faults.nemeses.failovers import SYNCHRONOUS, fail_over
from tests.faults.nemeses.fault import Fault
from tests.faults.nemeses.kills import kill_services
from tests.faults.nemeses.pauses import LOCK
from tests.faults.site import Setup, Site
from tests.support.postgres import run_sql
from tests.support.waiting import until

IMPORT_SECONDS = 60.0
HOLD_SECONDS = 7.0  # longer than the 5 s that a session of the service waits for a lock
ENDS = 10
END_APPENDS = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
 where application_name = 'factwire append' and $1::bool
"""


async def break_imports(site: Site) -> None:
    """Kill services, end the sessions that append, or keep the lock from them, one after the other."""
    before = _completed(site)
    await (kill_services, end_appends, hold_the_lock)[site.round % 3](site)
    await _until_completed(site, before)


async def end_appends(site: Site) -> None:
    for _ in range(ENDS):
        await asyncio.to_thread(run_sql, site.node.url, END_APPENDS, True)
        await asyncio.sleep(site.random.uniform(0.05, 0.4))
    site.over()


async def hold_the_lock(site: Site) -> None:
    holder = await asyncpg.connect(site.node.url)
    try:
        async with holder.transaction():
            await holder.execute(LOCK)
            await asyncio.sleep(HOLD_SECONDS)
    finally:
        await holder.close()
    site.over()


async def fail_over_beside_imports(site: Site) -> None:
    await fail_over(site)
    await _until_completed(site, _completed(site))


async def _until_completed(site: Site, before: int) -> None:
    """Each importer that was broken off gets to the end of its file."""
    await until(lambda: _completed(site) >= before + len(site.beside), seconds=IMPORT_SECONDS)


def _completed(site: Site) -> int:
    return sum(client.completed for client in site.beside if isinstance(client, Importer))


IMPORTERS = (Importer, Importer, Importer)

FAULTS = (
    Fault(
        "imports: services killed, sessions ended, the lock held",
        12,
        break_imports,
        Setup(workers=(1, 1, 1), beside=IMPORTERS),
    ),
    Fault("imports: fail-over", 1, fail_over_beside_imports, replace(SYNCHRONOUS, beside=IMPORTERS), sites=2),
)
