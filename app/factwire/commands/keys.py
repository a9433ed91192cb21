"""`factwire keys`: make, list, rotate and revoke keys, on the database itself, so that there can be a first one."""

import argparse
from collections.abc import Callable

from factwire.commands.parsing import Commands, Parser, add_command, add_group, bounded
from factwire.commands.serving import prepared, url_of
from factwire.domain.grants import Namespaces, new_namespaces
from factwire.settings import Settings

ACTIONS = ("publish", "read", "manage")
GRACE_SECONDS = 3600.0
PATTERNS = "namespaces by commas: loans, loans.*, * for all, !loans.internal for all but that"


def add_to(commands: "Commands[Parser]") -> None:
    of_keys = add_group(
        commands, "keys", "make, list, rotate and revoke keys", "factwire keys create orders --publish shop --read '*'"
    )
    example = "factwire keys create orders --publish shop --read 'shop,loans.*' --expires-days 90"
    creating = add_command(of_keys, "create", "make a key and print its secret, once", example, running("create"))
    creating.add_argument("name", help="whose it is, or what for")
    for action in ACTIONS:
        creating.add_argument(f"--{action}", metavar="PATTERNS", type=namespaces, default=Namespaces(), help=PATTERNS)
    creating.add_argument("--expires-days", type=bounded(0.001, 36_500), help="never without it")
    listing = add_command(of_keys, "list", "print all keys", "factwire keys list --json", running("list_keys"))
    listing.add_argument("--json", action="store_true", help="print one JSON object a line")
    example = "factwire keys rotate 5hTq2mXw --grace-seconds 600"
    rotating = add_command(of_keys, "rotate", "give a key a new secret and print it, once", example, running("rotate"))
    rotating.add_argument("id")
    rotating.add_argument(
        "--grace-seconds",
        type=bounded(0, 30 * 24 * 3600),
        default=GRACE_SECONDS,
        help="how long the last one holds; 3600",
    )
    example = "factwire keys revoke 5hTq2mXw"
    revoking = add_command(
        of_keys, "revoke", "end a key, and the streams that it has opened", example, running("revoke")
    )
    revoking.add_argument("id")


def running(name: str) -> Callable[[argparse.Namespace, Settings], int]:
    def run(options: argparse.Namespace, settings: Settings) -> int:
        from factwire.operating import keys

        settings = prepared(settings)  # so that there can be a first key before the service has run
        return keys.run_key_command(url_of(settings), getattr(keys, name), options)

    return run


def namespaces(text: str) -> Namespaces:
    """Patterns as the command line has them."""
    given = [pattern.strip() for pattern in text.split(",")]
    try:
        return new_namespaces(
            [pattern for pattern in given if not pattern.startswith("!")],
            [pattern[1:] for pattern in given if pattern.startswith("!")],
        )
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
