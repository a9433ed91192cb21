"""Facts in the hands of a worker, and how they go back."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any, Protocol, Sequence, Union

from .errors import FactwireError
from .facts import Fact


@dataclass(frozen=True)
class Claimed:
    """A fact in the hands of this worker. `attempt` is 1 at first.

    To acknowledge it by a publish, in one transaction: `publish(…, acknowledge=claimed)`.
    """

    fact: Fact
    attempt: int
    lease: str
    subscription: str


class Stop(Protocol):
    """An event that ends a worker: that of threading, or of asyncio."""

    def is_set(self) -> bool: ...


AnyClaimed = Union[Claimed, Sequence[Claimed]]


class Retry(FactwireError):
    """Raised by a handler: the fact is to come again, after some seconds or the backoff of the subscription."""

    def __init__(self, reason: str = "", *, after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_seconds = after_seconds


class Park(FactwireError):
    """Raised by a handler: the fact is to be set aside until somebody decides. The reason must not be personal."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


def returned_as(failure: Exception) -> dict[str, Any]:
    """How a fact goes back after a failure. Of an unforeseen one only the class is told: its text may be personal."""
    if isinstance(failure, Park):
        return {"park": True, "reason": failure.reason[:1000]}
    if isinstance(failure, Retry):
        delay = {} if failure.after_seconds is None else {"retry_after_seconds": failure.after_seconds}
        return {**delay, "reason": failure.reason[:1000]}
    return {"reason": type(failure).__name__}


def acknowledgement_of(claimed: AnyClaimed | None) -> dict[str, Any] | None:
    """What a publish says of the facts that it acknowledges."""
    if claimed is None:
        return None
    several = [claimed] if isinstance(claimed, Claimed) else list(claimed)
    names = {each.subscription for each in several}
    if len(names) != 1:
        raise ValueError("a publish acknowledges facts of one subscription, at least one")
    return {"subscription": names.pop(), "leases": [each.lease for each in several]}


def worker_name() -> str:
    """Name of this process among the workers, for people."""
    return f"{socket.gethostname()[:150]}:{os.getpid()}"
