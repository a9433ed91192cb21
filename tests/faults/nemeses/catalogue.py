"""All faults, in the order in which they are run."""

from tests.faults.nemeses import (
    clocks,
    crowds,
    disk,
    erasures,
    failovers,
    forks,
    imports,
    kills,
    links,
    pauses,
    workers,
)
from tests.faults.nemeses.fault import Fault


def faults() -> tuple[Fault, ...]:
    nemeses = (kills, pauses, links, disk, clocks, failovers, forks, imports, erasures, crowds, workers)
    return tuple(fault for nemesis in nemeses for fault in nemesis.FAULTS)
