"""What a check found, and what to change where it is not well."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`change` says what to do; it is empty only where the verdict is ok."""

    check: str
    verdict: Verdict
    told: str
    change: str = ""


def ok(check: str, told: str) -> Finding:
    return Finding(check, "ok", told)


def note(check: str, told: str, change: str) -> Finding:
    """Works, but not as well or as safely as it could."""
    return Finding(check, "note", told, change)


def wrong(check: str, told: str, change: str) -> Finding:
    return Finding(check, "wrong", told, change)
