"""Job runner: repeats the background jobs of a process, each with an interval and a failure of its own."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import asyncpg

from factwire.domain.errors import Unavailable
from factwire.store.pools import CONNECTION_FAILURES
from factwire.telemetry.logs import describe_error

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Work that a process repeats. `on_failure` is called after each run that raised an error."""

    name: str
    interval_seconds: float
    work: Callable[[], Awaitable[None]]
    on_failure: Callable[[], None] = lambda: None


class JobRunner:
    """Repeats jobs beside each other: one that fails, or takes long, delays no other."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs

    async def run(self) -> None:
        """Repeat the jobs until cancelled."""
        async with asyncio.TaskGroup() as group:
            for job in self._jobs:
                group.create_task(repeat(job))


async def repeat(job: Job) -> None:
    """Repeat a job until cancelled. A failure is logged once for each cause, and so is the end of the failures."""
    cause = ""
    while True:
        failure = await failure_of(job)
        if failure and failure != cause:
            log.error("the job %s failed: %s", job.name, failure)
        elif cause and failure == "":
            log.info("the job %s works again", job.name)
        cause = cause if failure is None else failure
        await asyncio.sleep(job.interval_seconds)


async def failure_of(job: Job) -> str | None:
    """Run a job once. Returns the cause of its failure, empty if it did not fail; None if the database is unreachable.

    The tail reports a database that cannot be reached, but it needs fewer privileges than some jobs.
    """
    try:
        await job.work()
    except (Unavailable, *CONNECTION_FAILURES) as error:
        job.on_failure()
        cause = error.__cause__ or error
        return describe_error(cause) if isinstance(cause, asyncpg.InsufficientPrivilegeError) else None
    except Exception as error:
        job.on_failure()
        return describe_error(error)
    return ""
