"""Revisions of the schema: that of a database, and the newest one that this version knows."""

import re

import asyncpg

from factwire.paths import resource_path
from factwire.store.connection import Connection

SCRIPTS = resource_path("alembic")


REVISION = "select version_num from factwire.alembic_version"


OWN_REVISION = re.compile("[0-9]{4}")


UNRELEASED_REVISION = re.compile("0[0-9]{3}")


def newest_revision() -> str:
    """The newest revision that this version knows, by the names of the migrations: `1001_create_the_log.py`."""
    return max(path.name.partition("_")[0] for path in (SCRIPTS / "versions").glob("[0-9]*_*.py"))


async def read_revision(connection: Connection) -> str | None:
    """Revision of the schema; None if the schema does not exist."""
    try:
        revision: str | None = await connection.fetchval(REVISION)
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return None
    return revision


async def schema_is_current(connection: Connection) -> bool:
    """True if the schema is that of this version, or a newer one that must be compatible with it."""
    revision = await read_revision(connection)
    return revision is not None and bool(OWN_REVISION.fullmatch(revision)) and revision >= newest_revision()


class MigrationRefused(Exception):
    """Refusal to create or upgrade the schema in a database; the message names the cause."""
