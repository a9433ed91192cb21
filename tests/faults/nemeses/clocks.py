"""Clocks that jump, by libfaketime, which reads how far from a file."""

import asyncio
from collections.abc import Mapping

from tests.faults.nemeses.fault import Fault
from tests.faults.site import CLOCK, Setup, Site

JUMPS_SECONDS = (3600, -3600, 86_400, -7200, 0, -86_400)
FAKED: Mapping[str, str] = {
    "LD_PRELOAD": "/usr/$LIB/faketime/libfaketime.so.1",
    "FAKETIME_TIMESTAMP_FILE": f"{{directory}}/{CLOCK}",
    "FAKETIME_CACHE_DURATION": "1",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
}


async def jump(site: Site) -> None:
    site.set_clock(JUMPS_SECONDS[site.round % len(JUMPS_SECONDS)])
    await asyncio.sleep(1.5)  # libfaketime looks once a second
    site.over()


FAULTS = (
    Fault("clock of the services jumps", 6, jump, Setup(service_environment=FAKED)),
    Fault("clock of PostgreSQL jumps", 6, jump, Setup(postgres_environment=FAKED)),
)
