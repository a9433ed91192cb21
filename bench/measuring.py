"""What is measured, and the clocks around it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from bench.client import Unexpected
from bench.cluster import Cluster
from bench.processes import CpuReading, Target, cpu_reading, cpu_seconds_between


@dataclass(frozen=True, slots=True)
class Measure:
    """A column that service and floor share, and in which direction it is good."""

    name: str
    unit: str
    better: Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One phase: a value for each measure of the scenario, and what explains it."""

    values: dict[str, float]
    details: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cost:
    """Elapsed and CPU seconds of one window: server, its PostgreSQL backends, and this client."""

    seconds: float
    server_cpu_seconds: float
    postgres_cpu_seconds: float
    client_cpu_seconds: float

    def per(self, what: str, count: float) -> dict[str, float]:
        microseconds = 1e6 / max(count, 1)
        return {
            f"server_cpu_us_per_{what}": self.server_cpu_seconds * microseconds,
            f"postgres_cpu_us_per_{what}": self.postgres_cpu_seconds * microseconds,
            f"client_cpu_us_per_{what}": self.client_cpu_seconds * microseconds,
        }


class Meter:
    """Reads the CPU clocks of everything that takes part in a phase, at its start and at its end."""

    def __init__(self, cluster: Cluster, target: Target) -> None:
        self._cluster = cluster
        self._target = target
        self._server: CpuReading
        self._postgres: CpuReading
        self._client_seconds = 0.0

    async def start(self) -> None:
        backends = await self._cluster.backend_pids(self._target.database)
        self._postgres = cpu_reading(backends)
        self._client_seconds = time.process_time()
        self._server = cpu_reading(self._target.pids())

    async def stop(self) -> Cost:
        server = cpu_reading(self._target.pids())
        client_seconds = time.process_time() - self._client_seconds
        backends = await self._cluster.backend_pids(self._target.database)
        return Cost(
            seconds=server.at - self._server.at,
            server_cpu_seconds=cpu_seconds_between(self._server, server),
            postgres_cpu_seconds=cpu_seconds_between(self._postgres, cpu_reading(backends)),
            client_cpu_seconds=client_seconds,
        )


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def until(claim: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Waits for a condition, and fails with `what` when the time is up."""
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > deadline:
            raise Unexpected(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(0.005)
