"""Positions and cursors: the place of a fact in the total order, and the form in which a client keeps it."""

import re
from dataclasses import dataclass
from typing import Literal, NewType
from uuid import UUID

Position = NewType("Position", int)
"""The place of a fact in the log: 1, 2, 3 … in commit order, without gaps. As a lower bound it is exclusive."""

START = Position(0)
POSITION_MAX = 2**63 - 1
EPOCH_MAX = 2**31 - 1

CURSOR = re.compile(r"(?:([1-9][0-9]{0,9}):)?(0|[1-9][0-9]{0,18})", re.ASCII)
FACT_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position within an epoch, as clients keep it: `<epoch>:<position>`. Epoch 0 means the current one."""

    epoch: int
    position: Position

    def __str__(self) -> str:
        return f"{self.epoch}:{self.position}"


Bound = Cursor | UUID | Literal["start", "head"]
"""Begin or end of a read, as a client may send it: a cursor, a bare position, the id of a fact, `start` or `head`."""


def parse_cursor(text: str) -> Cursor:
    """Parse `<epoch>:<position>`, or a bare position of the current epoch. Raises ValueError."""
    found = CURSOR.fullmatch(text)
    if found is None or int(found[2]) > POSITION_MAX or int(found[1] or 0) > EPOCH_MAX:
        raise ValueError("expected a cursor such as 1:42, or a position")
    return Cursor(int(found[1] or 0), Position(int(found[2])))


def parse_bound(text: str) -> Bound:
    """Parse a value of `after` or `until`. Raises ValueError."""
    match text:
        case "start" | "head":
            return text
        case _ if FACT_ID.fullmatch(text):
            return UUID(text)
    try:
        return parse_cursor(text)
    except ValueError:
        raise ValueError("expected a cursor such as 1:42, a position, the id of a fact, start or head") from None
