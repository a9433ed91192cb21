"""The commands for keys. They work on the database itself, so that there can be a first key."""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import asyncpg

from app.access import keys
from app.access.granting import ACTIONS
from app.access.keys import Made
from app.domain.errors import FactwireError
from app.domain.fact import utc
from app.domain.grants import EVERYTHING, Grants, Namespaces, new_namespaces
from app.domain.principal import Principal
from app.store.database import Connection
from app.store.keys import StoredKey, stored_keys

COMMAND_LINE = Principal("command-line", EVERYTHING)
CONNECT_SECONDS = 10.0
STATEMENT_SECONDS = 30.0
GRACE_SECONDS = 3600.0
PATTERNS = "namespaces by commas: loans, loans.*, * for all, !loans.internal for all but that"


def add_key_commands(parser: argparse.ArgumentParser, run: Callable[..., int]) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    creating = commands.add_parser("create", help="make a key and print its secret, once")
    creating.add_argument("name", help="whose it is, or what for")
    for action in ACTIONS:
        creating.add_argument(f"--{action}", metavar="PATTERNS", type=namespaces, default=Namespaces(), help=PATTERNS)
    creating.add_argument("--expires-days", type=days, help="never without it")
    creating.set_defaults(run=run, command=create)
    listing = commands.add_parser("list", help="print all keys")
    listing.add_argument("--json", action="store_true", help="print one JSON object a line")
    listing.set_defaults(run=run, command=list_keys)
    rotating = commands.add_parser("rotate", help="give a key a new secret and print it, once")
    rotating.add_argument("id")
    rotating.add_argument("--grace-seconds", type=seconds, default=GRACE_SECONDS, help="how long the last one holds")
    rotating.set_defaults(run=run, command=rotate)
    revoking = commands.add_parser("revoke", help="end a key, and the streams that it has opened")
    revoking.add_argument("id")
    revoking.set_defaults(run=run, command=revoke)


def run_key_command(url: str, options: argparse.Namespace) -> int:
    command: Callable[[Connection, argparse.Namespace], Awaitable[None]] = options.command

    async def run() -> None:
        connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS)
        try:
            await command(connection, options)
        finally:
            await connection.close(timeout=CONNECT_SECONDS)

    try:
        asyncio.run(run())
    except FactwireError as error:
        print(f"factwire: {error.detail}", file=sys.stderr)
        return 1
    except asyncpg.UndefinedTableError:
        print("factwire: the schema of the database is missing or old: run `factwire migrate`", file=sys.stderr)
        return 1
    return 0


async def create(connection: Connection, options: argparse.Namespace) -> None:
    grants = Grants(publish=options.publish, read=options.read, manage=options.manage)
    if grants == Grants():
        print("factwire: the key grants nothing; see --publish, --read and --manage", file=sys.stderr)
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


def show(made: Made) -> None:
    """The secret alone goes to standard output, so that a script can take it from there."""
    print(f"The key {made.key.id} ({made.key.name}). Its secret is shown this once:", file=sys.stderr)
    print(made.secret)


def line(key: StoredKey) -> str:
    granted = " ".join(f"{action}={patterns(**key.grants[action])}" for action in ACTIONS if action in key.grants)
    last_used = "never used" if key.last_used_at is None else f"used {utc(key.last_used_at)}"
    return f"{key.id}  {state(key)}  {key.name}  {granted or 'grants nothing'}  {last_used}"


def state(key: StoredKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "ended" if key.expires_at is not None and key.expires_at <= datetime.now(UTC) else "live"


def json_line(key: StoredKey) -> str:
    times = {name: None if value is None else utc(value) for name, value in asdict(key).items() if name.endswith("_at")}
    return json.dumps({**asdict(key), **times})


def patterns(include: Iterable[str] = (), exclude: Iterable[str] = ()) -> str:
    return ",".join([*include, *(f"!{pattern}" for pattern in exclude)])


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


def days(text: str) -> float:
    return bounded(text, least=0.001, most=36_500)


def seconds(text: str) -> float:
    return bounded(text, least=0, most=30 * 24 * 3600)


def bounded(text: str, *, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"expected a number from {least:g} to {most:g}")
    return number
