"""A migration that cannot have its locks holds up nobody, and comes through when it can."""

import shutil
from asyncio import create_task, to_thread
from pathlib import Path

import asyncpg
import httpx
import pytest

from factwire.store.schema import revisions
from factwire.store.schema.migrate import migrate
from factwire.store.schema.revisions import MigrationRefused, newest_revision
from tests.conftest import StartService
from tests.e2e.wire import exported
from tests.support.builders import publication

PUBLISH_SECONDS = 2.0
LONG_TRANSACTION = "select count(*) from factwire.facts"
WAITING = "select pid from pg_stat_activity where application_name = 'factwire migrate' and wait_event_type = 'Lock'"
EXPANDED = "select count(*) from pg_attribute where attrelid = 'factwire.facts'::regclass and attname = 'expanded'"

EXPAND = """
from alembic import op

revision = "9999"
down_revision = "{newest}"


def upgrade() -> None:
    op.execute("alter table factwire.facts add column expanded text")
"""


@pytest.fixture
def further_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more migration than there is: it needs an exclusive lock on the facts for a moment."""
    newest = newest_revision()
    scripts = tmp_path / "alembic"
    shutil.copytree(revisions.SCRIPTS, scripts)
    (scripts / "versions" / "9999_expand.py").write_text(EXPAND.format(newest=newest))
    monkeypatch.setattr(revisions, "SCRIPTS", scripts)
    monkeypatch.setattr("factwire.store.schema.migrate.PAUSE_SECONDS", 0.2)


@pytest.mark.usefixtures("further_migration")
async def test_publishing_goes_on_while_a_migration_waits_for_a_long_transaction(
    fresh_database_url: str, start_service: StartService
) -> None:
    service = await start_service()
    reader, watcher = await asyncpg.connect(fresh_database_url), await asyncpg.connect(fresh_database_url)
    published = 0
    async with httpx.AsyncClient(base_url=service.url, timeout=PUBLISH_SECONDS, verify=False) as client:
        async with reader.transaction():
            await reader.execute(LONG_TRANSACTION)
            migrating = create_task(to_thread(migrate, fresh_database_url))
            attempts: set[int] = set()
            while len(attempts) < 3:
                (await client.post("/v1/facts", json=publication())).raise_for_status()
                published += 1
                attempts |= {row["pid"] for row in await watcher.fetch(WAITING)}
        await migrating
        (await client.post("/v1/facts", json=publication())).raise_for_status()
    assert await watcher.fetchval(EXPANDED) == 1
    assert len(await exported(service.url)) == published + 1
    await reader.close()
    await watcher.close()


@pytest.mark.usefixtures("further_migration")
async def test_a_migration_that_never_gets_its_locks_is_refused_and_changes_nothing(fresh_database_url: str) -> None:
    reader = await asyncpg.connect(fresh_database_url)
    async with reader.transaction():
        await reader.execute(LONG_TRANSACTION)
        with pytest.raises(MigrationRefused, match="pg_stat_activity"):
            await to_thread(migrate, fresh_database_url, patience_seconds=0)
    assert await reader.fetchval(EXPANDED) == 0
    assert await reader.fetchval("select version_num from factwire.alembic_version") < "9999"
    await reader.close()


@pytest.mark.usefixtures("further_migration")
async def test_publishing_goes_on_beside_a_migration(fresh_database_url: str, start_service: StartService) -> None:
    service = await start_service()
    async with httpx.AsyncClient(base_url=service.url, timeout=PUBLISH_SECONDS, verify=False) as client:
        migrating = create_task(to_thread(migrate, fresh_database_url))
        published = 0
        while not migrating.done() or published < 10:
            (await client.post("/v1/facts", json=publication())).raise_for_status()
            published += 1
        await migrating
    assert len(await exported(service.url)) == published
