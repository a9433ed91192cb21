"""All faults, in the order in which they are run."""

from tests.faults.nemeses import clocks, crowds, disk, failovers, kills, links, pauses
from tests.faults.nemeses.fault import Fault


def faults() -> tuple[Fault, ...]:
    return tuple(
        fault for nemesis in (kills, pauses, links, disk, clocks, failovers, crowds) for fault in nemesis.FAULTS
    )
