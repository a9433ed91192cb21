"""Drain: the one signal that a process stops. Everything that ends because of it reads this object."""

from dataclasses import dataclass


@dataclass(slots=True)
class Drain:
    """Signal that is set when the process begins to stop: new streams are refused, open ones end, connections close."""

    begun: bool = False

    def begin(self) -> None:
        """Begin to drain. Safe to call from a signal handler: it sets a flag and wakes nothing."""
        self.begun = True
