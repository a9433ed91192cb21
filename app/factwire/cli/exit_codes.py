"""Exit codes of the commands, and the exception and the signal handler that end a command early."""

import logging
import sys
from enum import IntEnum
from types import FrameType
from typing import NoReturn

from factwire.telemetry.logs import logs_json

log = logging.getLogger(__name__)


class Exit(IntEnum):
    """Exit code of a command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    CONFLICT = 3
    UNREACHABLE = 4
    INTERRUPTED = 130


class Stopped(Exception):
    """A command cannot continue: holds the message for standard error and the exit code."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.message = message if message.startswith("{") else f"factwire: {message}"  # a problem document stays JSON
        self.code = code


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """Signal handler: exit with 128 + the signal number, as shells expect, and run the cleanup handlers."""
    sys.exit(128 + number)


def complain(line: str) -> None:
    """Write the reason for the end of the command to standard error, as JSON if logs are JSON."""
    if logs_json():
        log.critical(line)
    else:
        print(line, file=sys.stderr)
