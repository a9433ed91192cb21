"""What a driver is asked to do, as JSON on its command line, and what it found, as JSON on its standard output."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

Phase = Literal["publish", "history", "fan_out", "live"]

FACTS_PER_SECOND = 100
REQUESTS_AHEAD_MAX = 2
PUBLISHERS = 2
DELIVERY_SECONDS_MAX = 20.0
PAGE_FACTS = 1000


@dataclass(frozen=True, slots=True)
class Job:
    """One phase on a store that is empty; `streams` is over how many streams or categories the clients spread."""

    phase: Phase
    address: str
    seconds: float
    warm_up_seconds: float
    clients: int = 1
    facts_per_request: int = 1
    streams: int = 1
    facts: int = 0
    subscribers: int = 1
    workload: str = ""

    @property
    def paced_facts(self) -> int:
        return int(FACTS_PER_SECOND * (self.seconds + self.warm_up_seconds))

    @property
    def warm_up_facts(self) -> int:
        return int(FACTS_PER_SECOND * self.warm_up_seconds)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Facts or deliveries of the timed window, and whether everything that was acknowledged is there."""

    count: int
    seconds: float
    acknowledged: int = 0
    stored: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0


class Wrong(Exception):
    """A count or an answer that makes the measurement worthless."""


def answer(phases: Mapping[Phase, Callable[[Job], Outcome]]) -> None:
    """The main function of a driver."""
    job = Job(**json.loads(sys.argv[1]))
    print(json.dumps(asdict(phases[job.phase](job))), flush=True)


def latency_outcome(latencies_seconds: list[float], job: Job) -> Outcome:
    """`latencies_seconds` in the order of publishing; those of the warm-up do not count."""
    if len(latencies_seconds) != job.paced_facts:
        raise Wrong(f"{len(latencies_seconds)} deliveries of {job.paced_facts} facts")
    ordered = sorted(latencies_seconds[job.warm_up_facts :])
    return Outcome(
        len(ordered),
        job.seconds,
        p50_ms=ordered[len(ordered) // 2] * 1e3,
        p99_ms=ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1e3,
    )
