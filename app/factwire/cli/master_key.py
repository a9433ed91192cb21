"""`factwire master-key`: create and rotate the master keys that wrap the data keys (envelope encryption)."""

import argparse
import sys

from factwire.cli.arguments import Parser, add_command
from factwire.cli.database import run_on_database
from factwire.cli.exit_codes import Exit
from factwire.domain.errors import FactwireError
from factwire.settings import Settings
from factwire.store.connection import Connection
from factwire.store.encryption.keys import MasterKeys, load_master_keys, new_master_key
from factwire.store.master_key_rotation import rotate

ROTATED_BY = "factwire master-key rotate"
EXAMPLE = "export FACTWIRE_MASTER_KEY=$(factwire master-key new)"


def add_arguments(parser: Parser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_command(commands, "new", "print a new master key", "factwire master-key new > master.key", run_new)
    add_command(
        commands,
        "rotate",
        "wrap every data key with the current master key",
        "FACTWIRE_MASTER_KEY=$NEW,$OLD factwire master-key rotate",
        run_rotate,
    )


def run_new(options: argparse.Namespace, settings: Settings) -> int:
    print(new_master_key())
    return Exit.DONE


def run_rotate(options: argparse.Namespace, settings: Settings) -> int:
    master_keys = load_master_keys(*settings.master_key_sources)
    return run_on_database(settings, lambda connection: rotate_master_key(connection, master_keys))


async def rotate_master_key(connection: Connection, master_keys: MasterKeys) -> int:
    if not master_keys:
        print("factwire: set FACTWIRE_MASTER_KEY or FACTWIRE_MASTER_KEY_FILE, the new key first", file=sys.stderr)
        return Exit.FAILED
    try:
        rotated = await rotate(connection, master_keys, by=ROTATED_BY)
    except FactwireError as error:
        print(f"factwire: {error.detail}", file=sys.stderr)
        return Exit.FAILED
    print(f"{rotated} data keys were wrapped with the master key {master_keys.current}; older keys are not needed.")
    return Exit.DONE
