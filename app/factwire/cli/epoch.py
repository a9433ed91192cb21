"""`factwire epoch`: after a failover or a restore, record that history was lost, or confirm that it was not."""

import argparse
import sys

from factwire.cli.arguments import Parser, add_command
from factwire.cli.database import run_on_database
from factwire.cli.exit_codes import Exit
from factwire.cli.keys import COMMAND_LINE
from factwire.settings import Settings
from factwire.store.connection import Connection
from factwire.store.log import raise_epoch
from factwire.store.timelines import keep_server, read_kept, read_server

EXAMPLE = "factwire epoch raise --forked-after 4711"


def add_arguments(parser: Parser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    raising = add_command(
        commands, "raise", "begin a new epoch; older cursors stay valid up to the fork", EXAMPLE, run_raise
    )
    raising.add_argument(
        "--forked-after", type=int, help="the last position that both histories share (default: the head)"
    )
    add_command(
        commands, "keep", "confirm that a promotion or a restore has lost nothing", "factwire epoch keep", run_keep
    )


def run_raise(options: argparse.Namespace, settings: Settings) -> int:
    async def work(connection: Connection) -> int:
        epoch, forked_after = await raise_epoch(connection, forked_after=options.forked_after, by=COMMAND_LINE.name)
        print(f"The epoch is {epoch}. Older cursors are valid up to position {forked_after}.")
        return Exit.DONE

    return run_on_database(settings, work)


def run_keep(options: argparse.Namespace, settings: Settings) -> int:
    return run_on_database(settings, keep_history)


async def keep_history(connection: Connection) -> int:
    """Record that no history was lost in the move to this server. Returns 1 if a process has detected a loss."""
    server = await read_server(connection)
    if await keep_server(connection, server):
        where = "" if server is None else f" Timeline {server.timeline} of server {server.system_identifier} is stored."
        print(f"The history is confirmed.{where}")
        return Exit.DONE
    fork = (await read_kept(connection)).fork
    after = "an unknown position" if fork is None or fork.after is None else f"position {fork.after}"
    print(
        f"factwire: a process has detected that facts after {after} were replaced or lost: run `factwire epoch raise`",
        file=sys.stderr,
    )
    return Exit.FAILED
