"""What a fault is: a setup, and one round of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.faults.site import Setup, Site


@dataclass(frozen=True, slots=True)
class Fault:
    """`strike` does one round and returns when the fault is over. `sites` is how often it gets a site of its own."""

    name: str
    rounds: int
    strike: Callable[[Site], Awaitable[None]]
    setup: Setup = field(default_factory=Setup)
    sites: int = 1
