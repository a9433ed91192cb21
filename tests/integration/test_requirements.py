"""A database whose advisory locks are stubs that grant everything: it is found out, and nothing is published there."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from factwire.domain.errors import Unavailable
from factwire.publish.publisher import Publisher
from factwire.store.requirements import Requirements, lock_excludes
from factwire.store.schema.migrate import migrate
from factwire.store.schema.revisions import MigrationRefused
from tests.integration.logs import connected, fact, opened_database, opened_publisher
from tests.support.builders import publication
from tests.support.postgres import DROP_STUB_LOCKS, Databases, give_stub_locks, run_sql
from tests.support.service import ServiceProcess, settings_of
from tests.support.waiting import until

TOLD = "one advisory lock to two sessions"


@pytest.fixture
def empty_url(databases: Databases) -> Iterator[str]:
    """A database without a log."""
    name = f"{databases.prefix}_stubs_{uuid4().hex[:6]}"
    run_sql(databases.server_url, f'create database "{name}"')
    yield databases.url(name)
    databases.drop(databases.url(name))


async def test_the_lock_of_postgresql_excludes(database_url: str) -> None:
    async with connected(database_url, 2) as [one, other]:
        assert await lock_excludes(one, other)
        assert await lock_excludes(one, other)


@asynccontextmanager
async def publisher_without_proof(url: str) -> AsyncIterator[Publisher]:
    """A publisher that nobody has proved the lock for, as that of a process that has just begun to listen."""
    async with (
        opened_database(url) as database,
        opened_publisher(url, require_lock=Requirements(database).require) as publisher,
    ):
        yield publisher


async def test_the_first_publish_of_a_process_waits_for_the_proof(fresh_database_url: str) -> None:
    async with publisher_without_proof(fresh_database_url) as publisher:
        assert (await publisher.publish([fact("order-1")])).positions == range(1, 2)


async def test_the_first_publish_is_refused_where_locks_exclude_nobody(fresh_database_url: str) -> None:
    await asyncio.to_thread(give_stub_locks, fresh_database_url)
    async with publisher_without_proof(fresh_database_url) as publisher:
        for _ in range(2):
            with pytest.raises(Unavailable, match="cannot keep a log"):
                await publisher.publish([fact("order-1")])


def test_nothing_is_created_where_locks_exclude_nobody(empty_url: str) -> None:
    give_stub_locks(empty_url)
    with pytest.raises(MigrationRefused, match=TOLD):
        migrate(empty_url)
    assert run_sql(empty_url, "select where to_regnamespace('factwire') is not null and $1", True) == []


async def test_a_process_publishes_nothing_where_locks_exclude_nobody(fresh_database_url: str, tmp_path: Path) -> None:
    await asyncio.to_thread(give_stub_locks, fresh_database_url)
    process = ServiceProcess(settings_of(database_url=fresh_database_url), log_path=tmp_path / "service.log")
    try:
        await until(lambda: TOLD in process.log)
        async with httpx.AsyncClient(base_url=process.url, verify=False) as client:
            assert (await client.get("/readyz")).status_code == 503
            refused = await client.post("/v1/facts", json=publication())
            assert (refused.status_code, refused.json()["type"]) == (503, "urn:factwire:problem:unavailable")
            assert (await client.get("/v1/facts")).json()["facts"] == []
        assert process.log.count(TOLD) == 1
    finally:
        await process.close()


async def test_a_process_publishes_once_the_stubs_are_gone(fresh_database_url: str, tmp_path: Path) -> None:
    await asyncio.to_thread(give_stub_locks, fresh_database_url)
    process = ServiceProcess(settings_of(database_url=fresh_database_url), log_path=tmp_path / "service.log")
    try:
        await until(lambda: TOLD in process.log)
        await asyncio.to_thread(run_sql, fresh_database_url, DROP_STUB_LOCKS)
        await process.ready()
        async with httpx.AsyncClient(base_url=process.url, verify=False) as client:
            assert (await client.post("/v1/facts", json=publication())).status_code == 201
    finally:
        await process.close()
