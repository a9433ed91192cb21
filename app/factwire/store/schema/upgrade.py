"""Upgrade of a schema by alembic. Imported only to migrate: alembic and SQLAlchemy take a third of a second."""

from typing import TYPE_CHECKING, Any

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from factwire.store.connection import MIGRATING, connect
from factwire.store.schema import revisions
from factwire.store.schema.revisions import MigrationRefused

if TYPE_CHECKING:
    pass


def try_migrate(database_url: str) -> bool:
    """Run the migrations. False if another transaction held a lock too long; nothing was changed then."""
    try:
        command.upgrade(configuration(database_url), "head")
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == asyncpg.LockNotAvailableError.sqlstate:
            return False
        raise MigrationRefused(f"the migration failed, and nothing was changed: {error.orig}") from error
    return True


def configuration(database_url: str = "") -> Config:
    """Configuration of Alembic, with or without a database."""
    config = Config()
    config.set_main_option("script_location", str(revisions.SCRIPTS))
    config.attributes["database_url"] = database_url
    return config


def sqlalchemy_engine(url: str) -> AsyncEngine:
    """Engine of SQLAlchemy that accepts the same URLs as asyncpg itself, including several hosts and sockets."""

    async def open_one() -> Any:
        return await connect(url, application_name=MIGRATING)

    return create_async_engine("postgresql+asyncpg://", async_creator=open_one, poolclass=NullPool)
