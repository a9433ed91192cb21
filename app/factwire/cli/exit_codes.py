"""How commands end: the codes, and what ends one before its time."""

import logging
import sys
from enum import IntEnum
from types import FrameType
from typing import NoReturn

from factwire.telemetry.logs import logs_json

log = logging.getLogger(__name__)


class Exit(IntEnum):
    """The exit code of a command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    CONFLICT = 3
    UNREACHABLE = 4
    INTERRUPTED = 130


class Stopped(Exception):
    """A command cannot go on: what to tell on standard error, and the exit code."""

    def __init__(self, told: str, code: Exit) -> None:
        super().__init__(told)
        self.told = told if told.startswith("{") else f"factwire: {told}"  # a problem stays JSON
        self.code = code


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """End at a signal as shells know it, and run what is to be run at the end."""
    sys.exit(128 + number)


def complain(line: str) -> None:
    """Write to standard error why the command ends, as JSON if logs are JSON."""
    if logs_json():
        log.critical(line)
    else:
        print(line, file=sys.stderr)
