"""Entry point of the command line: the list of commands, their parser, and the exit codes of errors."""

import io
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from types import ModuleType

from pydantic import ValidationError

from factwire import __version__
from factwire.cli.arguments import Parser, add_command
from factwire.cli.exit_codes import Exit, Stopped, complain, leave
from factwire.settings import Settings, range_of
from factwire.telemetry.logs import configure_logging

# Each command is a module of the same name. Only the module that runs is imported: importing all takes a second.
COMMANDS = {
    "serve": "run the service",
    "migrate": "create or upgrade the schema of the database",
    "openapi": "print the OpenAPI document",
    "publish": "publish a fact",
    "read": "print facts of the log, one per line",
    "tail": "follow the log and print each fact as a line",
    "import": "publish facts from NDJSON, one per line",
    "export": "write all facts up to the head as lines",
    "subscriptions": "create, show, pause, reset and delete subscriptions, and their parked facts",
    "work": "give each fact of a subscription to a command",
    "bench": "measure a service from here; the facts that it publishes stay",
    "doctor": "check the database and the service, and name what to change",
    "keys": "create, list, rotate and revoke API keys",
    "verify": "compare the log with what was appended to it",
    "epoch": "record that history was lost, or confirm that it was not",
    "erasures": "carry erasures over to a restored backup",
    "master-key": "create and rotate the keys that wrap the keys of data subjects",
    "completion": "print a script that completes commands",
}
WORKER = "serve-worker"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if os.getpid() == 1:
        # The kernel does not deliver a signal to the first process of a container unless it has a handler for it.
        signal.signal(signal.SIGTERM, leave)
    write_any_character()
    given = sys.argv[1:] if arguments is None else arguments
    try:
        options = new_parser([each for each in given if each != "--"][:1]).parse_args(given)
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
        complain(stopped.message)
        return stopped.code
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader has closed the pipe; the flush at the exit of Python must not raise the same error again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except Exception as error:
        if not is_expected(error):
            raise
        complain(f"factwire: {error}")
        return Exit.FAILED


def write_any_character() -> None:
    """Write UTF-8 to programs in any locale, and escape characters that a terminal does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def complain_of_settings(error: ValidationError) -> int:
    if os.environ.get("FACTWIRE_LOG_FORMAT") == "json":  # the settings object, which holds this, does not exist
        configure_logging("json")
    for wrong in error.errors():
        name = "_".join(map(str, wrong["loc"]))
        bounds = range_of(name)
        between = f" ({bounds[0]:.15g} to {bounds[1]:.15g})" if bounds else ""
        message = wrong["msg"].removeprefix("Value error, ")
        complain(f"FACTWIRE_{name.upper()}: {message}{between}" if name else message)
    return Exit.USAGE


def is_expected(error: Exception) -> bool:
    """True if the message of an error suffices, without a traceback.

    The imports are cheap: the code that raised the error has imported these modules already.
    """
    if isinstance(error, OSError):
        return True
    import asyncpg

    from factwire.postgres_url import SessionNeeded, UnusableUrl
    from factwire.store.embedded_programs import EmbeddedRefused, NotInstalled
    from factwire.store.encryption.keys import MasterKeyRefused
    from factwire.store.schema.revisions import MigrationRefused

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


def new_parser(chosen: Iterable[str] = COMMANDS) -> Parser:
    """Parser of all commands. Commands that are not chosen are only listed, without their arguments."""
    parser = Parser(
        "factwire",
        description="Facts over plain HTTP, kept in PostgreSQL.",
        epilog="`factwire COMMAND --help` shows an example. Exit codes: 0 done, 1 failed, 2 wrong arguments or"
        " settings, 3 conflict, 4 the service cannot be reached.",
    )
    parser.set_defaults(all_commands=new_parser)  # for completion
    parser.add_argument("--version", action="version", version=f"factwire {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        if name in chosen:
            module = module_of(name)
            module.add_arguments(add_command(commands, name, summary, module.EXAMPLE))
        else:
            commands.add_parser(name, help=summary)
    if WORKER in chosen:
        module_of("serve").add_worker_arguments(commands.add_parser(WORKER))
    return parser


def module_of(command: str) -> ModuleType:
    name = {"import": "import_facts"}.get(command, command.replace("-", "_"))
    return import_module(f"factwire.cli.{name}")
