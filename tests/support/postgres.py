"""The PostgreSQL of a test run: one server, one migrated template database, and copies of it."""

import asyncio
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from factwire.store.embedded import EmbeddedServer
from factwire.store.embedded_programs import find_engine
from factwire.store.schema.migrate import migrate

# What a run throws away need not survive a crash of the machine; a test about crashes asks for `durable`.
SETTINGS = "max_connections = 300\n"
FORGETFUL_SETTINGS = SETTINGS + "fsync = off\nfull_page_writes = off\n"

# The triggers that keep facts immutable refuse TRUNCATE; a replica's session does not fire them. To the tail of a
# service that runs meanwhile an emptied log is a lost history, and is served only in a new epoch.
EMPTY_THE_LOG = """
begin;
set local session_replication_role = replica;
truncate factwire.facts, factwire.fact_tags, factwire.fact_ids, factwire.types, factwire.type_counts,
  factwire.namespaces, factwire.creators, factwire.namespace_counts, factwire.activity, factwire.job_leases,
  factwire.data_subjects, factwire.sealed, factwire.redactions, factwire.chain, factwire.subscriptions,
  factwire.subscription_cursors, factwire.subscription_leases, factwire.subscription_open_keys,
  factwire.subscription_aside, factwire.subscription_settled, factwire.subscription_lost_leases,
  factwire.subscription_workers;
update factwire.counted set through = 0, activity_through = 0;
update factwire.log
   set epoch = epoch + 1, floor = 0, partition_facts = default, erasures = 0, forked_at = null, forked_after = null;
insert into factwire.epochs (epoch, forked_after) select epoch, 0 from factwire.log;
commit
"""

# As databases have them that are compatible in name only. Where pg_catalog is named, public may come before it.
STUB_LOCKS = """
create function public.pg_advisory_xact_lock(bigint) returns void language sql as 'select';
create function public.pg_try_advisory_xact_lock(bigint) returns boolean language sql as 'select true';
alter database "{name}" set search_path = public, pg_catalog
"""
DROP_STUB_LOCKS = "drop function public.pg_advisory_xact_lock; drop function public.pg_try_advisory_xact_lock"


class ThrowawayPostgres:
    """An embedded PostgreSQL in a directory of its own; a test may stop it, crash it and start it again."""

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self.directory = directory
        self.settings = SETTINGS if durable else FORGETFUL_SETTINGS
        self.server = EmbeddedServer(directory, find_engine())

    @property
    def url(self) -> str:
        return self.server.url

    def start(self) -> None:
        is_new = not (self.directory / "PG_VERSION").exists()
        self.server.prepare()
        self.server.make()
        if is_new:
            with (self.directory / "postgresql.conf").open("a") as configuration:
                configuration.write(self.settings)
        self.server.launch()

    def stop(self, *, mode: str = "fast") -> None:
        """End the server: `fast` ends its sessions and writes a checkpoint, `immediate` is a crash."""
        self.server.end(mode=mode)

    def remove(self) -> None:
        if (self.directory / "postmaster.pid").exists():
            self.stop(mode="immediate")
        shutil.rmtree(self.directory)


class Databases:
    """Copies of the run's template database on one server."""

    def __init__(self, server_url: str, *, prefix: str) -> None:
        self.server_url = server_url
        self.prefix = prefix
        self.template = f"{prefix}_template"

    def url(self, name: str) -> str:
        return urlunsplit(urlsplit(self.server_url)._replace(path=f"/{name}"))

    def make_template(self) -> None:
        self.drop(self.url(self.template))  # what a worker left whose migration failed
        run_sql(self.server_url, f'create database "{self.template}"')
        migrate(self.url(self.template))

    def create(self, name: str = "") -> str:
        """Return the URL of a new copy."""
        name = name or f"{self.prefix}_{uuid4().hex[:12]}"
        run_sql(self.server_url, f'create database "{name}" template "{self.template}"')
        return self.url(name)

    def empty(self, url: str) -> None:
        """Take every fact out of a copy and raise its epoch, in a few milliseconds where the role may do so."""
        try:
            run_sql(url, EMPTY_THE_LOG)
        except asyncpg.InsufficientPrivilegeError:
            self.drop(url)
            self.create(name_of(url))

    def drop(self, url: str) -> None:
        run_sql(self.server_url, f'drop database if exists "{name_of(url)}" with (force)')

    def drop_all(self) -> None:
        names = run_sql(self.server_url, "select datname from pg_database where starts_with(datname, $1)", self.prefix)
        for (name,) in names:
            self.drop(self.url(name))


def databases_of_run(run_directory: Path) -> Databases:
    """Return the databases of this test run; the worker that asks first starts the server and makes the template."""
    with locked(run_directory):
        made = run_directory / "server-url"
        if made.exists():
            return Databases(made.read_text(), prefix=prefix_of(run_directory))
        url = os.environ.get("FACTWIRE_TEST_DATABASE_URL") or start_embedded(run_directory)
        databases = Databases(url, prefix=prefix_of(run_directory))
        databases.make_template()
        made.write_text(url)
        return databases


def remove_run(run_directory: Path) -> None:
    """Throw away what the workers of a run have made."""
    embedded = run_directory / "postgres"
    if embedded.exists():
        ThrowawayPostgres(embedded).remove()
    elif (run_directory / "server-url").exists():
        databases_of_run(run_directory).drop_all()
    shutil.rmtree(run_directory)


def run_sql(database_url: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """Run one statement with its arguments, or several without any, on a connection of its own."""

    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(database_url)
        try:
            if arguments:
                return await connection.fetch(statement, *arguments)
            await connection.execute(statement)
            return []
        finally:
            await connection.close()

    with asyncio.Runner() as runner:
        return runner.run(run())


def give_stub_locks(database_url: str) -> None:
    """Let advisory locks of new sessions exclude nobody."""
    run_sql(database_url, STUB_LOCKS.format(name=name_of(database_url)))


def start_embedded(run_directory: Path) -> str:
    postgres = ThrowawayPostgres(run_directory / "postgres", durable=False)
    postgres.start()
    return postgres.url


def name_of(database_url: str) -> str:
    return urlsplit(database_url).path.removeprefix("/")


def url_as(database_url: str, role: str, password: str) -> str:
    """The same database, opened by another role."""
    parts = urlsplit(database_url)
    return urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.netloc.rpartition('@')[2]}"))


def prefix_of(run_directory: Path) -> str:
    return f"factwire_test_{run_directory.name.rpartition('-')[2]}"


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep the other workers of the run out meanwhile."""
    with (directory / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
