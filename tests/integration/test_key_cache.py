"""The keyring of a process follows the keys of the database, and is trusted for no longer than it may be."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from factwire.auth import keys
from factwire.auth.authenticator import Authentication
from factwire.auth.key_cache import KeyCache
from factwire.auth.keys import CreatedKey
from factwire.domain.errors import Forbidden, KeyNotFound, LimitExceeded, Unauthenticated, Unavailable
from factwire.domain.principal import Principal
from factwire.store.api_keys import SECRETS_MAX
from factwire.store.connection import Connection
from factwire.store.schema.migrate import migrate
from tests.access.keys import EVERYTHING_GRANTED, TESTER, make_key, new_grants
from tests.conftest import StartPostgres
from tests.integration.store import opened
from tests.support.waiting import until

READER = new_grants(read=(["shop"], []))


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def running(key_cache: KeyCache) -> AsyncIterator[None]:
    task = asyncio.create_task(key_cache.run())
    try:
        yield
    finally:
        task.cancel()


def header(secret: str) -> bytes:
    return f"Bearer {secret}".encode()


async def test_a_key_is_known_and_unknown_as_the_database_says(fresh_database_url: str) -> None:
    async with opened(fresh_database_url) as database, connected(fresh_database_url) as connection:
        key_cache = KeyCache(database, poll_seconds=0.02)
        async with running(key_cache):
            made = await make_key(fresh_database_url, READER)
            await until(lambda: key_cache.known(made.secret) is not None)
            principal = await key_cache.verify(made.secret)
            assert (principal.name, principal.grants) == (f"key:{made.key.id}", READER)
            await keys.revoke(connection, TESTER, made.key.id)
            await until(lambda: key_cache.known(made.secret) is None)
            assert key_cache.current(principal) is None
            with pytest.raises(Unauthenticated):
                await key_cache.verify(made.secret)


async def test_what_was_seen_a_moment_ago_is_forgotten_when_keys_change(fresh_database_url: str) -> None:
    async with opened(fresh_database_url) as database, connected(fresh_database_url) as connection:
        key_cache = KeyCache(database)
        access = Authentication({"key": key_cache}, is_open=False)
        key_cache.on_changed = access.forget
        made = await make_key(fresh_database_url, READER)
        await key_cache.refresh()
        principal = await access.verify(header(made.secret))
        assert access.known(header(made.secret)) is principal
        await keys.revoke(connection, TESTER, made.key.id)
        await key_cache.refresh()
        assert access.known(header(made.secret)) is None
        with pytest.raises(Unauthenticated):
            access.check(principal)


async def test_a_key_ends_at_its_time_without_a_look_at_the_database(fresh_database_url: str) -> None:
    async with opened(fresh_database_url) as database, connected(fresh_database_url) as connection:
        key_cache = KeyCache(database)
        access = Authentication({"key": key_cache}, is_open=False)
        ends_at = datetime.now(UTC) + timedelta(seconds=1)
        made = await keys.create(connection, TESTER, name="n", grants=READER, expires_at=ends_at)
        await key_cache.refresh()
        principal = await access.verify(header(made.secret))
        await until(lambda: time.time() > ends_at.timestamp())
        assert access.known(header(made.secret)) is None
        with pytest.raises(Unauthenticated):
            access.check(principal)


async def test_keys_hold_while_the_database_is_away_but_for_a_bounded_time(start_postgres: StartPostgres) -> None:
    postgres = await asyncio.to_thread(start_postgres)
    await asyncio.to_thread(migrate, postgres.url)
    made = await make_key(postgres.url, READER)
    async with opened(postgres.url) as database:
        key_cache = KeyCache(database, poll_seconds=0.05, keep_seconds=3)
        async with running(key_cache):
            principal = await key_cache.verify(made.secret)
            await asyncio.to_thread(postgres.stop)
            assert key_cache.known(made.secret) == principal
            await until(lambda: key_cache.known(made.secret) is None)
            with pytest.raises(Unavailable):
                await key_cache.verify(made.secret)
            with pytest.raises(Unavailable):
                key_cache.current(principal)
            await asyncio.to_thread(postgres.start)
            await until(lambda: key_cache.known(made.secret) == principal)


async def test_a_key_has_a_bounded_number_of_secrets_the_newest_ones(fresh_database_url: str) -> None:
    async with opened(fresh_database_url) as database, connected(fresh_database_url) as connection:
        made = await make_key(fresh_database_url, READER)
        secrets = [made.secret]
        for _ in range(SECRETS_MAX + 2):
            rotated = await keys.rotate(connection, TESTER, made.key.id, grace_seconds=3600)
            secrets.append(rotated.secret)
        key_cache = KeyCache(database)
        await key_cache.refresh()
        assert [secret for secret in secrets if key_cache.known(secret)] == secrets[-SECRETS_MAX:]


async def test_each_secret_of_a_key_is_its_own_credential(fresh_database_url: str) -> None:
    """Whoever came with the one that has ended is nobody, though the key holds."""
    async with opened(fresh_database_url) as database, connected(fresh_database_url) as connection:
        key_cache = KeyCache(database)
        access = Authentication({"key": key_cache}, is_open=False)
        key_cache.on_changed = access.forget
        made = await make_key(fresh_database_url, READER)
        await key_cache.refresh()
        old = await access.verify(header(made.secret))
        rotated = await keys.rotate(connection, TESTER, made.key.id, grace_seconds=0)
        await key_cache.refresh()
        new = await access.verify(header(rotated.secret))
        assert old.name == new.name
        access.check(new)
        with pytest.raises(Unauthenticated):
            access.check(old)


async def test_its_last_use_is_kept(fresh_database_url: str) -> None:
    async with opened(fresh_database_url) as database, connected(fresh_database_url) as connection:
        key_cache = KeyCache(database, poll_seconds=0.02, note_seconds=0.05)
        made = await make_key(fresh_database_url, READER)
        async with running(key_cache):
            await until(lambda: key_cache.known(made.secret) is not None)
            async with asyncio.timeout(10):
                while (await keys.find(connection, made.key.id)).last_used_at is None:
                    await asyncio.sleep(0.01)


async def test_there_is_a_greatest_number_of_keys(fresh_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factwire.auth.keys.KEYS_MAX", 2)
    async with connected(fresh_database_url) as connection:

        async def create() -> CreatedKey:
            return await keys.create(connection, TESTER, name="n", grants=READER, expires_at=None)

        first, _ = await create(), await create()
        with pytest.raises(LimitExceeded):
            await create()
        await keys.revoke(connection, TESTER, first.key.id)
        await create()


async def test_only_what_one_has_is_given(fresh_database_url: str) -> None:
    async with connected(fresh_database_url) as connection:
        made = await make_key(fresh_database_url, EVERYTHING_GRANTED)
        lesser = Principal("key:lesser", READER)
        with pytest.raises(Forbidden):
            await keys.create(connection, lesser, name="n", grants=EVERYTHING_GRANTED, expires_at=None)
        with pytest.raises(Forbidden):
            await keys.rotate(connection, lesser, made.key.id, grace_seconds=0)
        with pytest.raises(KeyNotFound):
            await keys.rotate(connection, lesser, "unknown", grace_seconds=0)
