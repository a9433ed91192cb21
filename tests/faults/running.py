"""Running one fault: rounds at a site of its own, and the verdict of the checker on what its clients saw."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from time import monotonic

from tests.faults.checker import violations
from tests.faults.checks.past import Past
from tests.faults.checks.reading import count
from tests.faults.history import Recorder, read
from tests.faults.nemeses.fault import Fault
from tests.faults.site import site_of


@dataclass(slots=True)
class Result:
    """What a fault did. `failure` is empty where every promise was kept; else `kept` says where the history is."""

    fault: str
    rounds: int = 0
    operations: int = 0
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    facts: int = 0
    recovery_seconds: list[float] = field(default_factory=list)
    seconds: float = 0.0
    failure: str = ""
    kept: str = ""

    @property
    def recovery_p50(self) -> float:
        return median(self.recovery_seconds) if self.recovery_seconds else 0.0

    @property
    def recovery_max(self) -> float:
        return max(self.recovery_seconds, default=0.0)

    def line(self) -> str:
        kept = f"\nhistory and logs: {self.kept}" if self.kept else ""
        return f"{self.seconds:6.1f} s  {self.fault}: {self.failure or 'good'}{kept}"


async def run_fault(fault: Fault, seed: int, *, scale: float) -> Result:
    began, result = monotonic(), Result(fault.name)
    sites = max(1, round(fault.sites * scale)) if fault.sites > 1 else 1
    rounds = max(1, round(fault.rounds * scale))
    for site in range(sites):
        await _run_site(fault, f"{seed}/{fault.name}/{site}", rounds, result)
        if result.failure:
            break
    result.seconds = monotonic() - began
    return result


async def _run_site(fault: Fault, seed: str, rounds: int, result: Result) -> None:
    directory = new_directory()
    history = directory / "history.jsonl"
    try:
        with Recorder(history) as recorder:
            async with site_of(directory, fault.setup, recorder, seed) as site:
                for site.round in range(rounds):
                    await fault.strike(site)
                    result.recovery_seconds.append(await site.recovered())
                    result.rounds += 1
                await site.settle()
    except Exception as error:
        result.failure = f"{type(error).__name__}: {error}"
    judge(history, result)
    if result.failure:
        result.kept = str(directory)
    else:
        shutil.rmtree(directory)


def new_directory() -> Path:
    """A directory that the user of PostgreSQL reaches, too."""
    directory = Path(mkdtemp(prefix="factwire-faults-"))
    directory.chmod(0o777)
    return directory


def judge(history: Path, result: Result) -> None:
    """Add what the checker says of a history."""
    past = Past(read(history))
    acknowledged, refused, unknown = count(past.calls)
    events = sum(len(connection.events) for it in past.connections.values() for connection in it)
    result.operations += len(past.calls) + events
    result.acknowledged += acknowledged
    result.refused += refused
    result.unknown += unknown
    result.facts += len(past.log)
    if not result.failure:
        result.failure = "\n".join(map(str, violations(past)))
