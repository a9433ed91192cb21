"""`factwire verify`, `epoch`, `erasures` and `master-key`: what is done to the log itself, on its database."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from factwire.commands.exits import Exit
from factwire.commands.parsing import Commands, Parser, add_command, add_group
from factwire.commands.serving import url_of, with_database
from factwire.domain.position import Position
from factwire.settings import Settings

if TYPE_CHECKING:
    from factwire.store.database import Connection


def add_to(commands: "Commands[Parser]") -> None:
    verifying = add_command(
        commands,
        "verify",
        "see whether the log is still what was appended to it",
        "factwire verify --from 1000",
        verify,
    )
    verifying.add_argument("--from", dest="first", type=int, default=1, help="the first position; 1 without it")
    verifying.add_argument("--to", dest="last", type=int, help="the last position; the head without it")
    verifying.add_argument("--expect-hash", type=kept_hash, action="append", default=[], metavar="POSITION:HASH")

    of_epoch = add_group(
        commands,
        "epoch",
        "tell the log whether history was lost",
        "factwire epoch raise --forked-after 4711",
    )
    raising = add_command(
        of_epoch,
        "raise",
        "begin a new epoch; older cursors stay good up to the fork",
        "factwire epoch raise --forked-after 4711",
        raise_the_epoch,
    )
    raising.add_argument(
        "--forked-after", type=int, help="the last position that both histories share; the head without it"
    )
    add_command(
        of_epoch,
        "keep",
        "confirm that a promotion or a restore has lost nothing",
        "factwire epoch keep",
        keep_the_epoch,
    )
    add_erasures(commands)
    add_master_key(commands)


def add_erasures(commands: "Commands[Parser]") -> None:
    of_erasures = add_group(
        commands, "erasures", "carry erasures over a restored backup", "factwire erasures export > erasures.ndjson"
    )
    add_command(
        of_erasures,
        "export",
        "print what was erased and redacted, a line each",
        "factwire erasures export > erasures.ndjson",
        export_erasures,
    )
    applying = add_command(
        of_erasures,
        "apply",
        "erase and redact again what an export tells",
        "factwire erasures apply erasures.ndjson",
        apply_erasures,
    )
    applying.add_argument("file", help="a file, or - for standard input")


def add_master_key(commands: "Commands[Parser]") -> None:
    of_master_key = add_group(
        commands,
        "master-key",
        "make and rotate what wraps the keys of data subjects",
        "export FACTWIRE_MASTER_KEY=$(factwire master-key new)",
    )
    add_command(of_master_key, "new", "print a new master key", "factwire master-key new > master.key", new_key)
    add_command(
        of_master_key,
        "rotate",
        "wrap every data key with the current master key",
        "FACTWIRE_MASTER_KEY=$NEW,$OLD factwire master-key rotate",
        rotate_master_key,
    )


def kept_hash(text: str) -> tuple[Position, str]:
    """A position and the hash of the chain there."""
    position, _, digest = text.partition(":")
    bytes.fromhex(digest)
    return Position(int(position)), digest.lower()


def verify(options: argparse.Namespace, settings: Settings) -> int:
    from factwire.operating import keeping
    from factwire.store.master_keys import load_master_keys

    wanted = keeping.Wanted(
        after=Position(max(0, options.first - 1)),
        until=None if options.last is None else Position(options.last),
        hashes=tuple(options.expect_hash),
    )
    master_keys = load_master_keys(*settings.master_key_sources)
    return keep(settings, lambda connection: keeping.verify(connection, wanted, master_keys))


def raise_the_epoch(options: argparse.Namespace, settings: Settings) -> int:
    from factwire.operating.keys import COMMAND_LINE
    from factwire.store.epochs import raise_epoch

    async def work(connection: "Connection") -> int:
        epoch, forked_after = await raise_epoch(connection, forked_after=options.forked_after, by=COMMAND_LINE.name)
        print(f"The epoch is {epoch}. Older cursors are good up to position {forked_after}.")
        return Exit.DONE

    return keep(settings, work)


def keep_the_epoch(options: argparse.Namespace, settings: Settings) -> int:
    from factwire.operating import keeping

    return keep(settings, keeping.keep_history)


def export_erasures(options: argparse.Namespace, settings: Settings) -> int:
    from factwire.operating import keeping

    return keep(settings, keeping.export_erasures)


def apply_erasures(options: argparse.Namespace, settings: Settings) -> int:
    from factwire.operating import keeping

    lines = keeping.lines_of(options.file)
    return keep(settings, lambda connection: keeping.apply_erasures(connection, lines))


def new_key(options: argparse.Namespace, settings: Settings) -> int:
    from factwire.operating import keeping

    return keeping.print_master_key()


def rotate_master_key(options: argparse.Namespace, settings: Settings) -> int:
    from factwire.operating import keeping
    from factwire.store.master_keys import load_master_keys

    master_keys = load_master_keys(*settings.master_key_sources)
    return keep(settings, lambda connection: keeping.rotate_master_key(connection, master_keys))


def keep(settings: Settings, work: Callable[["Connection"], Awaitable[int]]) -> int:
    from factwire.operating import keeping

    return asyncio.run(keeping.on_database(url_of(with_database(settings)), work))
