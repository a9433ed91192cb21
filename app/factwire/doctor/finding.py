"""Finding of a check: the verdict, a description, and the change that is needed."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check. `change` is the action to take; it is empty only if the verdict is ok."""

    check: str
    verdict: Verdict
    detail: str
    change: str = ""


def ok(check: str, detail: str) -> Finding:
    return Finding(check, "ok", detail)


def note(check: str, detail: str, change: str) -> Finding:
    """Finding with the verdict note: it works, but not as well or as safely as it could."""
    return Finding(check, "note", detail, change)


def wrong(check: str, detail: str, change: str) -> Finding:
    return Finding(check, "wrong", detail, change)
