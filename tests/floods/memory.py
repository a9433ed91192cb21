"""The memory of a service while it is flooded, and what docs/operations.md ("Sizing") says that it may be."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil

from factwire.settings import MIB, Settings

SAMPLE_SECONDS = 0.2
BASE_BYTES = 150 * MIB
CONNECTION_BYTES = 32 * 1024
SHARES = 2  # one principal takes at most half


@dataclass
class Memory:
    """In bytes, at the beginning and at most."""

    calm: int
    most: int


@asynccontextmanager
async def watched(pid: int) -> AsyncIterator[Memory]:
    """Look at the memory of a process for as long as the block lasts."""
    process = psutil.Process(pid)
    memory = Memory(process.memory_info().rss, 0)

    async def look() -> None:
        while True:
            memory.most = max(memory.most, process.memory_info().rss)
            await asyncio.sleep(SAMPLE_SECONDS)

    task = asyncio.create_task(look())
    try:
        yield memory
    finally:
        task.cancel()


def bound(fills: tuple[str, ...], connections: int, changed: Mapping[str, object]) -> int:
    """How much the process may take while one principal fills these bounds: the table, added up.

    The ring is filled by anybody who publishes, and counts twice: with the batches that are shared.
    """
    settings = {name: field.default for name, field in Settings.model_fields.items()} | dict(changed)
    shares = sum(int(str(settings[name])) for name in fills) // SHARES
    ring = 2 * int(str(settings["ring_bytes_max"]))
    return BASE_BYTES + ring + shares + connections * (CONNECTION_BYTES + int(str(settings["header_bytes_max"])))
