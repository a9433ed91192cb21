"""One embedded PostgreSQL server with the settings it is shipped with; a database for each phase."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from factwire.store.embedded import EmbeddedServer
from factwire.store.embedded_programs import find_engine

_RECORDED_SETTINGS = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
    "jit",
)


class Cluster:
    """Creates, copies and drops databases, and knows the processes that work for one."""

    def __init__(self, server: EmbeddedServer, connection: "asyncpg.Connection[Any]") -> None:
        self._server = server
        self._connection = connection
        self._created = 0

    def url(self, database: str) -> str:
        return urlunsplit(urlsplit(self._server.url)._replace(path=f"/{database}"))

    async def create(self, template: str = "template0") -> str:
        """A new database, empty or a copy of `template`; checkpointed, so that all phases start from the same state."""
        self._created += 1
        database = f"bench_{self._created}"
        await self._connection.execute(f"create database {database} template {template}")
        await self._connection.execute("checkpoint")
        return database

    async def drop(self, database: str) -> None:
        await self._connection.execute(f"drop database if exists {database} with (force)")

    @asynccontextmanager
    async def database(self, template: str = "template0") -> AsyncIterator[str]:
        database = await self.create(template)
        try:
            yield database
        finally:
            await self.drop(database)

    async def vacuum(self, database: str) -> None:
        connection = await asyncpg.connect(self.url(database))
        await connection.execute("vacuum (analyze)")
        await connection.execute("checkpoint")
        await connection.close()

    async def backend_pids(self, database: str) -> list[int]:
        rows = await self._connection.fetch("select pid from pg_stat_activity where datname = $1", database)
        return [row["pid"] for row in rows]

    async def settings(self) -> dict[str, str]:
        rows = await self._connection.fetch(
            "select name, current_setting(name) as value from pg_settings where name = any($1) order by name",
            list(_RECORDED_SETTINGS),
        )
        version: str = await self._connection.fetchval("show server_version")
        return {"server_version": version} | {row["name"]: row["value"] for row in rows}


@asynccontextmanager
async def embedded_cluster() -> AsyncIterator[Cluster]:
    """Starts the server in a new directory, and removes both at the end."""
    with _new_directory() as directory:
        server = EmbeddedServer(directory / "pg", find_engine())
        server.begin()
        try:
            connection = await asyncpg.connect(server.url)
            yield Cluster(server, connection)
            await connection.close()
        finally:
            server.stop()


@contextmanager
def _new_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="factwire-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)
