"""Databases as platform teams hand them out: rights, encodings, time limits, revisions and roles of theirs."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import httpx
import pytest
from alembic import command as migrations

from factwire.store.schema.migrate import migrate
from factwire.store.schema.revisions import newest_revision
from factwire.store.schema.upgrade import configuration
from tests.conftest import StartService
from tests.support.builders import publication
from tests.support.postgres import Databases
from tests.support.postgres import run_sql as run_sql_alone
from tests.support.service import ROOT, ServiceProcess, clean_environment, settings_of

Make = Callable[..., str]
SET_REVISION = "update factwire.alembic_version set version_num = $1 returning 1"


def run_sql(url: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """The same within a test that is asynchronous itself."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run_sql_alone, url, statement, *arguments).result()


@pytest.fixture
def made(databases: Databases) -> Iterator[Make]:
    """Make databases and roles that are gone after the test: `made("role x", "login")` runs `create role x login`."""
    dropping: list[str] = []

    def make(what: str, options: str = "") -> str:
        run_sql(databases.server_url, f"create {what} {options}")
        kind, name = what.split()
        dropping.append(f"drop database if exists {name} with (force)" if kind == "database" else f"drop role {name}")
        return name

    yield make
    for statement in sorted(dropping):  # databases before roles
        run_sql(databases.server_url, statement)


def named(kind: str) -> str:
    return f"{kind}_{uuid4().hex[:10]}"


def url_as(databases: Databases, database: str, role: str = "", query: str = "") -> str:
    parts = urlsplit(databases.url(database))
    host = parts.netloc.rpartition("@")[2]
    netloc = parts.netloc if not role else f"{role}:secret@{host}"
    both = "&".join(filter(None, (parts.query, query)))
    return urlunsplit(parts._replace(netloc=netloc, query=both))


def run(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "factwire", *arguments],
        cwd=ROOT,
        env=clean_environment() | settings_of(**settings) | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def publishes(service: ServiceProcess) -> int:
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        return (await client.post("/v1/facts", json=publication())).status_code


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1252", "EUC_JP"])
def test_an_encoding_that_lacks_characters_is_refused_before_anything_is_made(
    databases: Databases, made: Make, encoding: str
) -> None:
    database = made(f"database {named('db')}", f"encoding '{encoding}' lc_collate 'C' lc_ctype 'C' template template0")
    for arguments in (("migrate",), ("serve", "--port", "0")):
        done = run(*arguments, database_url=databases.url(database))
        assert done.returncode == 1
        assert f"the encoding of the database is {encoding}, which lacks characters" in done.stderr
        assert "encoding 'UTF8' template template0" in done.stderr
        assert "Traceback" not in done.stderr
    rows = run_sql(databases.url(database), "select to_regnamespace('factwire') is null where $1", True)
    assert [row[0] for row in rows] == [True]


async def test_an_encoding_that_stores_bytes_as_they_come_is_taken(
    databases: Databases, made: Make, start_service: StartService
) -> None:
    database = made(f"database {named('db')}", "encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0")
    service = await start_service(database_url=databases.url(database), auth="none")
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        fact = {"namespace": "shop", "type": "T", "aggregate_ids": ["bestellung-ü-漢"], "payload": "ü漢"}
        assert (await client.post("/v1/facts", json=publication(fact))).status_code == 201
        page = (await client.get("/v1/facts", params={"aggregate_id": "bestellung-ü-漢"})).json()
    assert [found["payload"] for found in page["facts"]] == ["ü漢"]


@pytest.mark.parametrize("grant", ["grant usage, create on schema factwire to {}", "alter schema factwire owner to {}"])
def test_the_right_to_create_in_the_schema_is_enough(databases: Databases, made: Make, grant: str) -> None:
    database, role = named("db"), made(f"role {named('app')}", "login password 'secret'")
    made(f"database {database}")
    run_sql(databases.url(database), "create schema factwire")
    run_sql(databases.url(database), grant.format(role))
    try:
        done = run("migrate", database_url=url_as(databases, database, role))
        assert done.returncode == 0, done.stderr
        assert run("migrate", database_url=url_as(databases, database, role)).returncode == 0
    finally:
        run_sql(databases.url(database), "drop schema factwire cascade")


def test_an_older_migrate_leaves_a_newer_schema_as_it_is(fresh_database_url: str) -> None:
    run_sql(fresh_database_url, SET_REVISION, "9998")
    done = run("migrate", database_url=fresh_database_url)
    assert done.returncode == 0
    assert f"the schema is newer (9998) than this version ({newest_revision()}): left unchanged" in done.stderr
    assert "Traceback" not in done.stderr
    run_sql(fresh_database_url, SET_REVISION, newest_revision())


async def test_an_older_service_goes_on_with_a_newer_schema(
    fresh_database_url: str, start_service: StartService
) -> None:
    run_sql(fresh_database_url, SET_REVISION, "9998")
    service = await start_service(auth="none")
    assert await publishes(service) == 201
    run_sql(fresh_database_url, SET_REVISION, newest_revision())


def test_a_revision_of_somebody_else_is_none_of_ours(fresh_database_url: str) -> None:
    run_sql(fresh_database_url, SET_REVISION, "abc123")
    done = run("migrate", database_url=fresh_database_url)
    assert done.returncode == 1
    assert "contains 'abc123', which is not a revision of Factwire" in done.stderr
    run_sql(fresh_database_url, SET_REVISION, newest_revision())


def test_a_schema_from_before_the_first_release_gets_a_sentence_about_what_to_do(fresh_database_url: str) -> None:
    run_sql(fresh_database_url, SET_REVISION, "0013")
    done = run("migrate", database_url=fresh_database_url)
    assert done.returncode == 1
    assert "0013" in done.stderr
    assert "export its facts with the version that created it (factwire export)" in done.stderr
    assert "newer" not in done.stderr
    checked = run("doctor", database_url=fresh_database_url)
    assert "0013 is from before the first release" in checked.stdout
    run_sql(fresh_database_url, SET_REVISION, newest_revision())


@pytest.mark.parametrize(
    "limit", ["statement_timeout = '1ms'", "transaction_timeout = '150ms'", "lock_timeout = '1ms'"]
)
def test_time_limits_of_a_role_do_not_break_a_migration(databases: Databases, made: Make, limit: str) -> None:
    role = made(f"role {named('app')}", "login superuser password 'secret'")
    database = made(f"database {named('db')}")
    try:
        run_sql(databases.server_url, f"alter role {role} set {limit}")
    except Exception as error:
        pytest.skip(str(error))  # older than transaction_timeout
    done = run("migrate", database_url=url_as(databases, database, role))
    assert done.returncode == 0, done.stderr
    run_sql(databases.url(database), f"reassign owned by {role} to current_user; drop owned by {role}")


def test_a_migration_that_cannot_be_done_says_why_in_a_line(databases: Databases, made: Make) -> None:
    read_only, in_the_way = made(f"database {named('db')}"), made(f"database {named('db')}")
    run_sql(databases.server_url, f"alter database {read_only} set default_transaction_read_only = on")
    run_sql(databases.url(in_the_way), "create schema factwire; create table factwire.facts (a int)")
    for database, reason in ((read_only, "read-only"), (in_the_way, "already exists")):
        done = run("migrate", database_url=databases.url(database))
        assert done.returncode == 1
        assert reason in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


async def test_a_process_that_comes_before_its_migration_waits_without_a_noise(
    fresh_database_url: str, start_service: StartService, tmp_path: Path
) -> None:
    await asyncio.to_thread(migrations.downgrade, configuration(fresh_database_url), "base")
    environment = settings_of(database_url=fresh_database_url, auth="none")
    service = ServiceProcess(environment, log_path=tmp_path / "early.log")
    try:
        await asyncio.sleep(4)
        async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
            assert (await client.get("/readyz")).status_code == 503
        assert await publishes(service) == 503
        assert "Traceback" not in service.log
        assert service.log.count("run `factwire migrate`") == 1
        assert len(service.log.splitlines()) < 30
        await asyncio.to_thread(migrate, fresh_database_url)
        await service.ready()
        assert await publishes(service) == 201
    finally:
        await service.close()


@pytest.mark.parametrize("how", ["role=", "alter role"])
async def test_a_role_that_changes_with_each_lease_owns_nothing(
    databases: Databases, made: Make, start_service: StartService, how: str
) -> None:
    """As Vault makes them: each lease is another role, in the role that owns the log."""
    owner = made(f"role {named('owner')}", "nologin")
    database = made(f"database {named('db')}", f"owner {owner}")
    leases = [made(f"role {named('lease')}", f"login password 'secret' in role {owner}") for _ in range(2)]
    query = f"role={owner}" if how == "role=" else ""
    if how == "alter role":
        for lease in leases:
            run_sql(databases.server_url, f"alter role {lease} set role = '{owner}'")
    for lease in leases:
        url = url_as(databases, database, lease, query)
        service = await start_service(database_url=url, auth="none")
        assert await publishes(service) == 201
        assert await service.terminate() == 0
        owned = run_sql(databases.url(database), "select count(*) from pg_class where relowner = $1::regrole", lease)
        assert owned[0][0] == 0


async def test_the_url_may_stand_in_a_file(
    fresh_database_url: str, start_service: StartService, tmp_path: Path
) -> None:
    """Also for a service of several processes."""
    file = tmp_path / "url"
    file.write_text(f"{fresh_database_url}\n")
    service = await start_service(database_url=None, database_url_file=file, auth="none", workers=2)
    assert await publishes(service) == 201
    assert await service.terminate() == 0
    assert len(run_sql(fresh_database_url, "select 1 from factwire.facts where $1", True)) == 1


def test_doctor_says_what_is_wrong_with_tls(fresh_database_url: str) -> None:
    parts = urlsplit(fresh_database_url)
    there = f"postgresql://postgres@127.0.0.1:1{parts.path}"
    missing = run("doctor", database_url=f"{there}?sslmode=verify-full&sslrootcert=/nowhere/ca.pem")
    assert missing.returncode == 2
    assert "FACTWIRE_DATABASE_URL: the file of sslrootcert is not there: /nowhere/ca.pem" in missing.stderr
    none = run("doctor", database_url=f"{there}?sslmode=verify-full", url="http://127.0.0.1:1")
    assert none.returncode == 2
    assert "sslmode=verify-full needs sslrootcert" in none.stderr


async def test_a_search_path_of_the_role_changes_nothing_that_is_stored(
    databases: Databases, made: Make, start_service: StartService
) -> None:
    """Where `public` comes before pg_catalog, a function there would be taken for the server's own."""
    database, role = made(f"database {named('db')}"), made(f"role {named('app')}", "login superuser password 'secret'")
    shadow = "create function public.sha256(bytea) returns bytea language sql as $$ select ''::bytea $$"
    run_sql(databases.url(database), shadow)
    run_sql(databases.server_url, f"alter role {role} set search_path = public, pg_catalog")
    service = await start_service(database_url=url_as(databases, database, role), auth="none")
    assert await publishes(service) == 201
    assert await service.terminate() == 0
    assert "no flaws" in run("verify", database_url=databases.url(database)).stdout
    run_sql(databases.url(database), f"reassign owned by {role} to current_user; drop owned by {role}")


async def test_a_log_that_cannot_be_seen_is_waited_for_without_a_noise(
    fresh_database_url: str, start_service: StartService
) -> None:
    """While a dump is restored its tables are empty, and row security can hide what is there."""
    service = await start_service(auth="none")
    assert await publishes(service) == 201
    run_sql(fresh_database_url, "create table public.kept as table factwire.log; delete from factwire.log")
    await asyncio.sleep(3)
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        assert (await client.get("/v1/position")).status_code == 503
        assert (await client.get("/livez")).status_code == 200
        refused = await client.post("/v1/facts", json=publication())
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:factwire:problem:unavailable")
    run_sql(fresh_database_url, "insert into factwire.log table public.kept")
    assert "Traceback" not in service.log
    async with asyncio.timeout(30):
        while await publishes(service) != 201:
            await asyncio.sleep(0.2)
