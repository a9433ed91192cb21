"""`factwire keys`: create, list, rotate and revoke API keys, directly in the database (as the first key requires)."""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import asyncpg

from factwire.auth import keys
from factwire.auth.keys import CreatedKey
from factwire.cli.arguments import Parser, Run, add_command, bounded
from factwire.cli.database import url_of
from factwire.cli.exit_codes import Exit
from factwire.cli.migrate import with_schema
from factwire.domain.errors import FactwireError
from factwire.domain.fact import utc
from factwire.domain.grants import ACTIONS, EVERYTHING, Grants, NamespaceSet, new_namespace_set
from factwire.domain.principal import Principal
from factwire.store.api_keys import StoredApiKey, stored_keys
from factwire.store.connection import CONNECT_SECONDS, Connection, connect

COMMAND_LINE = Principal("command-line", EVERYTHING)
STATEMENT_SECONDS = 30.0
GRACE_SECONDS = 3600.0
PATTERNS = "comma-separated namespaces: loans, loans.*, * for all, !loans.internal to exclude one"
EXAMPLE = "factwire keys create orders --publish shop --read '*'"

Command = Callable[[Connection, argparse.Namespace], Awaitable[None]]


def add_arguments(parser: Parser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    example = "factwire keys create orders --publish shop --read 'shop,loans.*' --expires-days 90"
    creating = add_command(commands, "create", "create a key and print its secret, once", example, run_with(create))
    creating.add_argument("name", help="the owner or the purpose of the key")
    for action in ACTIONS:
        creating.add_argument(
            f"--{action}",
            metavar="PATTERNS",
            type=parse_namespaces,
            default=NamespaceSet(),
            help=PATTERNS if action != "subscribe" else "the same with names of subscriptions",
        )
    creating.add_argument("--expires-days", type=bounded(0.001, 36_500), help="lifetime (default: no end)")
    listing = add_command(commands, "list", "print all keys", "factwire keys list --json", run_with(list_keys))
    listing.add_argument("--json", action="store_true", help="print one JSON object per line")
    example = "factwire keys rotate 5hTq2mXw --grace-seconds 600"
    rotating = add_command(commands, "rotate", "give a key a new secret and print it, once", example, run_with(rotate))
    rotating.add_argument("id")
    rotating.add_argument(
        "--grace-seconds",
        type=bounded(0, 30 * 24 * 3600),
        default=GRACE_SECONDS,
        help="how long the previous secret stays valid (default: 3600)",
    )
    example = "factwire keys revoke 5hTq2mXw"
    revoking = add_command(commands, "revoke", "revoke a key and end its streams", example, run_with(revoke))
    revoking.add_argument("id")


def run_with(command: Command) -> Run:
    """Run a command on a database with a schema, so that the first key can be created before the service starts."""
    return lambda options, settings: run_key_command(url_of(with_schema(settings)), command, options)


def parse_namespaces(text: str) -> NamespaceSet:
    """Namespace set from comma-separated patterns. Raises ArgumentTypeError if a pattern is invalid."""
    given = [pattern.strip() for pattern in text.split(",")]
    try:
        return new_namespace_set(
            [pattern for pattern in given if not pattern.startswith("!")],
            [pattern[1:] for pattern in given if pattern.startswith("!")],
        )
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run_key_command(url: str, command: Command, options: argparse.Namespace) -> int:
    async def run() -> None:
        connection = await connect(url, application_name="factwire keys", statement_seconds=STATEMENT_SECONDS)
        try:
            await command(connection, options)
        finally:
            await connection.close(timeout=CONNECT_SECONDS)

    try:
        asyncio.run(run())
    except FactwireError as error:
        print(f"factwire: {error.detail}", file=sys.stderr)
        return Exit.FAILED
    except asyncpg.UndefinedTableError:
        print("factwire: the schema of the database is missing or old: run `factwire migrate`", file=sys.stderr)
        return Exit.FAILED
    return Exit.DONE


async def create(connection: Connection, options: argparse.Namespace) -> None:
    grants = Grants(publish=options.publish, read=options.read, manage=options.manage, subscribe=options.subscribe)
    if grants == Grants():
        print(
            "factwire: warning: the key grants nothing; see --publish, --read, --manage and --subscribe",
            file=sys.stderr,
        )
    expires_at = None if options.expires_days is None else datetime.now(UTC) + timedelta(days=options.expires_days)
    show(await keys.create(connection, COMMAND_LINE, name=options.name, grants=grants, expires_at=expires_at))


async def list_keys(connection: Connection, options: argparse.Namespace) -> None:
    found = await stored_keys(connection)
    print("\n".join(json_line(key) if options.json else line(key) for key in found))


async def rotate(connection: Connection, options: argparse.Namespace) -> None:
    show(await keys.rotate(connection, COMMAND_LINE, options.id, grace_seconds=options.grace_seconds))


async def revoke(connection: Connection, options: argparse.Namespace) -> None:
    key = await keys.revoke(connection, COMMAND_LINE, options.id)
    print(f"The key {key.id} ({key.name}) opens nothing any more, within seconds in every process.", file=sys.stderr)


def show(made: CreatedKey) -> None:
    """Print a new key. Only the secret goes to standard output, so that a script can read it."""
    print(f"The key {made.key.id} ({made.key.name}). Its secret is shown this once:", file=sys.stderr)
    print(made.secret)


def line(key: StoredApiKey) -> str:
    granted = " ".join(f"{action}={patterns(**key.grants[action])}" for action in ACTIONS if action in key.grants)
    last_used = "never used" if key.last_used_at is None else f"used {utc(key.last_used_at)}"
    return f"{key.id}  {state(key)}  {key.name}  {granted or 'grants nothing'}  {last_used}"


def state(key: StoredApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "ended" if key.expires_at is not None and key.expires_at <= datetime.now(UTC) else "live"


def json_line(key: StoredApiKey) -> str:
    times = {name: None if value is None else utc(value) for name, value in asdict(key).items() if name.endswith("_at")}
    return json.dumps({**asdict(key), **times})


def patterns(include: Iterable[str] = (), exclude: Iterable[str] = ()) -> str:
    return ",".join([*include, *(f"!{pattern}" for pattern in exclude)])
