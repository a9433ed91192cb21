"""Keys, made and ended in the database itself, so that there can be a first one."""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import asyncpg

from factwire.access import keys
from factwire.access.granting import ACTIONS
from factwire.access.keys import Made
from factwire.domain.errors import FactwireError
from factwire.domain.fact import utc
from factwire.domain.grants import EVERYTHING, Grants
from factwire.domain.principal import Principal
from factwire.store.connecting import CONNECT_SECONDS, connect
from factwire.store.database import Connection
from factwire.store.keys import StoredKey, stored_keys

COMMAND_LINE = Principal("command-line", EVERYTHING)
STATEMENT_SECONDS = 30.0


Command = Callable[[Connection, argparse.Namespace], Awaitable[None]]


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
        return 1
    except asyncpg.UndefinedTableError:
        print("factwire: the schema of the database is missing or old: run `factwire migrate`", file=sys.stderr)
        return 1
    return 0


async def create(connection: Connection, options: argparse.Namespace) -> None:
    grants = Grants(publish=options.publish, read=options.read, manage=options.manage)
    if grants == Grants():
        print("factwire: warning: the key grants nothing; see --publish, --read and --manage", file=sys.stderr)
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
