"""Runs the migrations on one connection, one migrator at a time."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text

from factwire.store.schema.tables import METADATA, SCHEMA
from factwire.store.schema.upgrade import sqlalchemy_engine

# A role, or a database, may have some that suit its queries. transaction_timeout is that of PostgreSQL 17 and newer.
OWN_TIME_LIMITS = """
select set_config(name, '0', true) from pg_settings where name in ('statement_timeout', 'transaction_timeout')
"""

PARTITION_MARKS = ("facts_p", "fact_tags_p")


def is_ours(name: str | None, kind: str, parents: object) -> bool:
    """Compare the schema of the log only, without partitions: they come and go as the log grows."""
    if kind == "schema":
        return name == SCHEMA
    return not (kind == "table" and name is not None and name.startswith(PARTITION_MARKS))


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=is_ours,
    )
    with context.begin_transaction():
        connection.execute(text(OWN_TIME_LIMITS))
        connection.execute(text("set local lock_timeout = '10s'"))
        connection.execute(text("select pg_advisory_xact_lock(hashtext('factwire migrations'))"))
        # Publishers queue up behind a migration that waits for a table: see migrate().
        connection.execute(text("set local lock_timeout = '500ms'"))
        # Even where it exists, CREATE SCHEMA asks for the right to create one.
        if connection.execute(text("select to_regnamespace('factwire') is null")).scalar():
            connection.execute(text("create schema factwire"))
        context.run_migrations()


async def main() -> None:
    engine = sqlalchemy_engine(context.config.attributes["database_url"])
    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


asyncio.run(main())
