"""Database of a command: the configured one, or an embedded PostgreSQL that is started for the command."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

from pydantic import SecretStr

from factwire.cli.exit_codes import leave
from factwire.postgres_url import SessionNeeded, target_of
from factwire.settings import Settings
from factwire.store import embedded
from factwire.store.connection import Connection, connect
from factwire.telemetry.logs import logs_json

EMBEDDED = "The database is the embedded one in {directory} (FACTWIRE_DATABASE_URL and FACTWIRE_DATA_DIR name others)."


def with_database(settings: Settings) -> Settings:
    """Settings with a database URL. Starts the embedded PostgreSQL if no database is configured."""
    if settings.database_url is not None:
        return settings
    directory = settings.data_dir or embedded.default_directory()
    signal.signal(signal.SIGTERM, leave)  # so that the server does not keep running
    server = embedded.start(directory)
    if not logs_json():
        print(EMBEDDED.format(directory=directory), file=sys.stderr)
    return settings.model_copy(update={"database_url": SecretStr(server.url)})


def url_of(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


def run_on_database(settings: Settings, work: Callable[[Connection], Awaitable[int]]) -> int:
    """Run `work` with its own database session and return the exit code."""
    return asyncio.run(on_database(url_of(with_database(settings)), work))


async def on_database(url: str, work: Callable[[Connection], Awaitable[int]]) -> int:
    """Run `work` with its own database session. Raises SessionNeeded if the URL leads to a transaction pooler."""
    if target_of(url).pooled:
        raise SessionNeeded("this command needs a session of its own: give the URL of the server, not of PgBouncer")
    connection = await connect(url, application_name="factwire keep")
    try:
        return await work(connection)
    finally:
        await connection.close()
