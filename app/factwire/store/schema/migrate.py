"""Migration of a database to the schema that this version needs, and checks of its revision and rights."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from factwire.postgres_url import UnusableUrl
from factwire.store.connection import MIGRATING, Connection, connect
from factwire.store.requirements import LACKS_CHARACTERS, unmet_requirement, unsupported_encoding
from factwire.store.schema.revisions import (
    OWN_REVISION,
    UNRELEASED_REVISION,
    MigrationRefused,
    newest_revision,
    read_revision,
)

RIGHTS = """
select current_user as role,
       current_database() as database,
       to_regnamespace('factwire') is not null as schema_exists,
       has_database_privilege(current_database(), 'CREATE') as may_create_schema,
       case when to_regnamespace('factwire') is not null
            then has_schema_privilege('factwire', 'CREATE') else true end as may_create_tables,
       current_setting('server_version_num')::int as version
"""

# Errors of asyncpg for a URL that it cannot use; their text may quote the URL.
UNUSABLE = (asyncpg.ClientConfigurationError, ValueError, LookupError)

IS_EMPTY = "select to_regclass('factwire.alembic_version') is null and not pg_is_in_recovery()"


VERSION_MIN = 150000

UNRELEASED = (
    "the schema (revision {}) is from before the first release and cannot be upgraded: export its facts with the "
    "version that created it (factwire export), and import them into a new database (factwire import)"
)

PATIENCE_SECONDS = 300.0
PAUSE_SECONDS = 2.0  # in which the transactions that queued up after the migration proceed

log = logging.getLogger(__name__)


def migrate(database_url: str, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Create or upgrade the schema. Raises MigrationRefused, naming each right that the role lacks.

    A database that cannot keep a log is refused as well, before anything is created in it; a schema that is newer than
    this version is left unchanged.

    While a migration waits for the lock on a table, every later transaction on that table waits as well, publishers
    included. So a migration waits only for a moment (`lock_timeout` in alembic/env.py), and is retried as a whole until
    it succeeds.
    """
    if asyncio.run(check_database(database_url)):
        return
    from factwire.store.schema.upgrade import try_migrate  # see there

    give_up_at = time.monotonic() + patience_seconds
    while not try_migrate(database_url):
        if time.monotonic() > give_up_at:
            raise MigrationRefused(
                f"another transaction has kept its lock on a table for {patience_seconds:g} s: "
                "look for it in pg_stat_activity, and run the migration again"
            )
        log.warning("another transaction has locked a table that the migration needs; it is retried")
        time.sleep(PAUSE_SECONDS)


def is_empty(database_url: str) -> bool:
    """True if the database has no log yet, and one can be created in it: a standby gets the log of its primary.

    Raises MigrationRefused if its encoding cannot keep a log.
    """

    async def look() -> bool:
        async with open_connection(database_url) as connection:
            if (encoding := await unsupported_encoding(connection)) is not None:
                raise MigrationRefused(LACKS_CHARACTERS.format(encoding))
            return await connection.fetchval(IS_EMPTY) is True

    return asyncio.run(look())


async def check_database(database_url: str) -> bool:
    """True if the schema is current, or newer. Raises MigrationRefused if it cannot be brought up to date."""
    async with open_connection(database_url) as connection, open_connection(database_url) as other:
        if (reason := await unmet_requirement(connection, other)) is not None:
            raise MigrationRefused(reason)
        missing = await missing_rights(connection)
        revision = await read_revision(connection)
    newest = newest_revision()
    if revision is not None and not OWN_REVISION.fullmatch(revision):
        raise MigrationRefused(f"factwire.alembic_version contains {revision!r}, which is not a revision of Factwire")
    if revision is not None and UNRELEASED_REVISION.fullmatch(revision):
        raise MigrationRefused(UNRELEASED.format(revision))
    if revision is not None and revision >= newest:
        if revision > newest:
            log.warning("the schema is newer (%s) than this version (%s): left unchanged", revision, newest)
        return True
    if missing:
        raise MigrationRefused("; ".join(missing))
    return False


@asynccontextmanager
async def open_connection(database_url: str) -> AsyncIterator[Connection]:
    try:
        connection = await connect(database_url, application_name=MIGRATING)
    except UNUSABLE as error:
        raise UnusableUrl(f"FACTWIRE_DATABASE_URL is of no use ({type(error).__name__})") from None
    try:
        yield connection
    finally:
        await connection.close()


async def missing_rights(connection: Connection) -> list[str]:
    """Reasons why this role cannot migrate this database, each with its remedy."""
    row = await connection.fetchrow(RIGHTS)
    assert row is not None
    role = row["role"]
    missing = []
    if row["version"] < VERSION_MIN:
        missing.append(f"PostgreSQL 15 or newer is needed, this is {row['version'] // 10000}")
    if not row["schema_exists"] and not row["may_create_schema"]:
        missing.append(
            f"role {role} may not create the schema factwire: grant create on database {row['database']} to {role}"
        )
    if not row["may_create_tables"]:
        missing.append(
            f"role {role} may not create tables in the schema factwire: grant create on schema factwire to {role}"
        )
    return missing
