"""The sessions of commands: the server ends what one that vanished left, as it does for the service."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text

from factwire.cli.database import on_database
from factwire.cli.keys import run_key_command
from factwire.doctor import database_checks
from factwire.store.connection import SESSION, Connection
from factwire.store.schema.upgrade import sqlalchemy_engine
from tests.integration.logs import connected, holders_of_the_lock
from tests.integration.relay import Relay, relaying
from tests.support.waiting import until

ASKED_FOR = "select name from pg_settings where source = 'client'"
LOCK_THE_LOG = "select factwire.lock_log()"

IsAsked = Callable[[str], Awaitable[set[str]]]


async def by_keys(url: str) -> set[str]:
    asked = set()

    async def look(connection: Connection, options: argparse.Namespace) -> None:
        asked.update([row["name"] for row in await connection.fetch(ASKED_FOR)])

    assert await asyncio.to_thread(run_key_command, url, look, argparse.Namespace()) == 0
    return asked


async def by_keeping(url: str) -> set[str]:
    asked = set()

    async def look(connection: Connection) -> int:
        asked.update([row["name"] for row in await connection.fetch(ASKED_FOR)])
        return 0

    assert await on_database(url, look) == 0
    return asked


async def by_migrating(url: str) -> set[str]:
    engine = sqlalchemy_engine(url)
    async with engine.begin() as connection:
        asked = set((await connection.execute(text(ASKED_FOR))).scalars())
    await engine.dispose()
    return asked


async def by_the_doctor(url: str) -> set[str]:
    connection = await database_checks.connect(url)
    asked = {row["name"] for row in await connection.fetch(ASKED_FOR)}
    await connection.close()
    return asked


@pytest.mark.parametrize("asked_for", [by_keys, by_keeping, by_migrating, by_the_doctor])
async def test_a_command_asks_for_the_limits_of_the_service(asked_for: IsAsked, database_url: str) -> None:
    assert await asked_for(database_url) >= {*SESSION, "application_name"}


async def test_a_command_that_falls_silent_before_its_commit_loses_the_lock_of_the_log(database_url: str) -> None:
    async with relaying(database_url) as (relay, url), connected(database_url) as [watcher]:
        silent = asyncio.create_task(asyncio.to_thread(run_key_command, url, fall_silent(relay), argparse.Namespace()))
        await until(lambda: holders_of_the_lock(watcher))
        await until(lambda: is_released(watcher))
        relay.resumed.set()
        with pytest.raises(Exception, match="connection"):
            await silent


def fall_silent(relay: Relay) -> Callable[[Connection, argparse.Namespace], Awaitable[None]]:
    """A command whose commit never reaches the server."""

    async def work(connection: Connection, options: argparse.Namespace) -> None:
        async with connection.transaction():
            await connection.execute(LOCK_THE_LOG)
            relay.room = 0

    return work


async def is_released(watcher: Connection) -> bool:
    return await holders_of_the_lock(watcher) == 0
