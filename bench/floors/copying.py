"""The least that reading history can cost: `COPY … TO STDOUT` of position and document from the service's own table.

The floor is the plain command, in text format, in which `bytea` travels as hexadecimal digits. Binary format carries
the bytes as they are and is several times as fast; its rate is measured too, and recorded beside the floor.
"""

from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Literal

import asyncpg

_COPIED = "select position, document from factwire.facts where position > $1"
_COPY_SECONDS_MAX = 60.0

Format = Literal["text", "binary"]


@dataclass(frozen=True, slots=True)
class Copied:
    facts: int
    mebibytes: float
    seconds: float
    cpu_seconds: float


async def copy_repeatedly(seconds: float, database_url: str, form: Format, after: int) -> Copied:
    """Copies the facts after a position again and again for at least so many seconds; whole copies only."""
    connection = await asyncpg.connect(database_url)
    facts = received = 0

    async def count(chunk: bytes) -> None:
        nonlocal received
        received += len(chunk)

    started_at, started_cpu = perf_counter(), process_time()
    while perf_counter() - started_at < seconds:
        status = await connection.copy_from_query(_COPIED, after, output=count, format=form, timeout=_COPY_SECONDS_MAX)
        facts += int(status.removeprefix("COPY "))
    elapsed, cpu = perf_counter() - started_at, process_time() - started_cpu
    await connection.close()
    return Copied(facts, received / 2**20, elapsed, cpu)
