"""A disk without room, which is then freed."""

import asyncio
import errno
from pathlib import Path

from tests.faults.nemeses.fault import Fault
from tests.faults.site import Setup, Site

FULL_SECONDS = 4.0
CHUNK = bytes(256 * 1024)


async def fill_disk(site: Site) -> None:
    """Where PostgreSQL ends because of it, it is started again, as whatever supervises it does."""
    ballast = site.node.directory.parent / "ballast"
    began = site.recorder.now()
    while site.recorder.now() < began + FULL_SECONDS:
        await asyncio.to_thread(fill, ballast)
        await asyncio.sleep(0.1)
    ballast.unlink()
    if not site.node.is_running():
        await asyncio.to_thread(site.node.start, **site.setup.postgres_settings)
    site.over()


def fill(ballast: Path) -> None:
    try:
        with ballast.open("ab", buffering=0) as file:
            while True:
                file.write(CHUNK)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


SMALL = Setup(
    tmpfs_mebibytes=256, postgres_settings={"max_wal_size": "64MB", "min_wal_size": "32MB"}, text_bytes_max=4000
)

FAULTS = (Fault("disk full, and freed", 4, fill_disk, SMALL),)
