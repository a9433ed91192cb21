"""The command line: what it understands, and how its commands end."""

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from factwire import __version__
from factwire.commands import (
    completing,
    examining,
    exporting,
    importing,
    keeping,
    keys,
    measuring,
    publishing,
    reading,
    serving,
    tailing,
)
from factwire.commands.exits import Exit, Stopped, leave
from factwire.commands.serving import complain
from factwire.settings import Settings, range_of
from factwire.telemetry.logs import configure_logging

MODULES = (serving, publishing, reading, tailing, importing, exporting, measuring, examining, keys, keeping)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if os.getpid() == 1:
        # The kernel keeps from the first process of a container every signal for which it has no handler.
        signal.signal(signal.SIGTERM, leave)
    write_any_character()
    options = new_parser().parse_args(arguments)
    try:
        settings = Settings(
            **{
                name: value
                for name, value in vars(options).items()
                if name in Settings.model_fields and value is not None
            }
        )
        configure_logging(settings.log_format)
        code: int = options.run(options, settings)
        sys.stdout.flush()
        return code
    except ValidationError as error:
        return complain_of_settings(error)
    except Stopped as stopped:
        complain(stopped.told)
        return stopped.code
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has enough of it; what Python flushes at its end must not complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except Exception as error:
        if not is_expected(error):
            raise
        complain(f"factwire: {error}")
        return Exit.FAILED


def write_any_character() -> None:
    """Write UTF-8 to programs whatever the locale, and escape on a terminal the characters that it lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def complain_of_settings(error: ValidationError) -> int:
    if os.environ.get("FACTWIRE_LOG_FORMAT") == "json":  # the settings, which would say so, do not exist
        configure_logging("json")
    for wrong in error.errors():
        name = "_".join(map(str, wrong["loc"]))
        bounds = range_of(name)
        between = f" ({bounds[0]:.15g} to {bounds[1]:.15g})" if bounds else ""
        told = wrong["msg"].removeprefix("Value error, ")
        complain(f"FACTWIRE_{name.upper()}: {told}{between}" if name else told)
    return Exit.USAGE


def is_expected(error: Exception) -> bool:
    """Whether an error says by itself what is wrong. What raised it has imported all this already."""
    if isinstance(error, OSError):
        return True
    import asyncpg

    from factwire.postgres_url import SessionNeeded, UnusableUrl
    from factwire.store.engine import EmbeddedRefused, NotInstalled
    from factwire.store.master_keys import MasterKeyRefused
    from factwire.store.migrations import MigrationRefused

    expected = (
        MigrationRefused,
        MasterKeyRefused,
        NotInstalled,
        EmbeddedRefused,
        SessionNeeded,
        UnusableUrl,
        asyncpg.PostgresError,
    )
    return isinstance(error, expected)


def new_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "factwire",
        description="Facts over plain HTTP, kept in PostgreSQL.",
        epilog="`factwire COMMAND --help` shows an example. Exit codes: 0 done, 1 failed, 2 wrong arguments or"
        " settings, 3 conflict, 4 the service cannot be reached.",
    )
    parser.add_argument("--version", action="version", version=f"factwire {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in MODULES:
        module.add_to(commands)
    completing.add_to(commands, parser)
    return parser
