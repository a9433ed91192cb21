"""Processes that are killed: services, their workers, PostgreSQL, and single sessions of it."""

import asyncio
import os
import signal
from contextlib import suppress

import psutil

from tests.faults.nemeses.fault import Fault
from tests.faults.site import Setup, Site
from tests.support.postgres import run_sql

TERMINATE = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
 where application_name like 'factwire%' and random() <= $1::double precision
"""


async def kill_services(site: Site) -> None:
    """Two of three services at once, and each of them again while it starts; the third is left to go on."""
    killed = site.random.sample(site.services, 2)
    await asyncio.gather(*(service.kill() for service in killed))
    for again in [site.restart(service) for service in killed]:
        await asyncio.sleep(site.random.uniform(0, 1))
        site.over()
        await again.kill()
        site.restart(again)


async def kill_workers(site: Site) -> None:
    """Both workers of a service at once: it replaces them by itself."""
    site.over()
    for worker in psutil.Process(site.services[0].pid).children():
        with suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)


async def kill_postgres(site: Site) -> None:
    await asyncio.to_thread(site.node.kill)
    await asyncio.sleep(site.random.uniform(0, 1))
    await asyncio.to_thread(site.node.start, **site.setup.postgres_settings)
    site.over()


async def terminate_sessions(site: Site) -> None:
    """Some or all sessions of all services, whatever they are doing."""
    share = site.random.choice((0.2, 0.5, 1.0))
    await asyncio.to_thread(run_sql, site.node.url, TERMINATE, share)
    site.over()
    await asyncio.sleep(site.random.uniform(0, 0.3))


FAULTS = (
    Fault("kill -9 of two services of three, and of both again", 42, kill_services, Setup(workers=(1, 1, 1))),
    Fault("kill -9 of both workers of a service", 16, kill_workers, Setup(workers=(2, 1))),
    Fault("kill -9 of PostgreSQL", 12, kill_postgres),
    Fault("sessions terminated", 40, terminate_sessions),
)
