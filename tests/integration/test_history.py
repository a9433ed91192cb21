"""After a promotion or a restore, a process confirms only what it has seen before and finds again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from factwire.follow.tail import Tail
from factwire.jobs.history_check import HistoryCheck
from factwire.store.connection import Connection
from factwire.store.log import raise_epoch
from factwire.store.timelines import keep_server, read_kept, read_server
from tests.integration.logs import CUT_THE_LOG, connected, fact, new_tail, opened_database, running, store
from tests.support.postgres import name_of
from tests.support.waiting import until

CHANGE_THE_TIMELINE = "update factwire.log set timeline = timeline - 1"
BEGIN_AN_EPOCH = "update factwire.log set epoch = epoch + 1"


@asynccontextmanager
async def stopped_tail(url: str, *, facts: int) -> AsyncIterator[tuple[Connection, Tail, HistoryCheck]]:
    """A tail that has seen so many facts and looks no more, and a history that was known to be whole by then."""
    async with connected(url) as [connection], opened_database(url) as database:
        await store(connection, [fact() for _ in range(facts)])
        tail = new_tail(database)
        async with running(tail.run()):
            await until(lambda: tail.started)
        history = HistoryCheck(tail)
        await history.look(connection, at_once=False)
        yield connection, tail, history


async def is_confirmed(connection: Connection) -> bool:
    return (await read_kept(connection)).server == await read_server(connection)


@pytest.mark.parametrize("facts", [0, 3])
async def test_the_first_process_stores_the_server_and_confirms_the_next_one(
    fresh_database_url: str, facts: int
) -> None:
    async with stopped_tail(fresh_database_url, facts=facts) as (connection, _, history):
        assert await is_confirmed(connection)
        await connection.execute(CHANGE_THE_TIMELINE)
        await history.look(connection, at_once=True)
        assert await is_confirmed(connection)
        assert not history.unconfirmed


async def test_it_looks_only_once_in_a_while_unless_a_connection_was_lost(fresh_database_url: str) -> None:
    async with stopped_tail(fresh_database_url, facts=1) as (connection, _, history):
        await connection.execute(CHANGE_THE_TIMELINE)
        await history.look(connection, at_once=False)
        assert not await is_confirmed(connection)
        await history.look(connection, at_once=True)
        assert await is_confirmed(connection)


@pytest.mark.parametrize("loss", [CUT_THE_LOG.format(after=2), BEGIN_AN_EPOCH])
async def test_a_process_that_does_not_find_its_newest_fact_confirms_nothing(
    fresh_database_url: str, loss: str
) -> None:
    async with stopped_tail(fresh_database_url, facts=3) as (connection, _, history):
        await connection.execute(CHANGE_THE_TIMELINE)
        await connection.execute(loss)
        await history.look(connection, at_once=True)
        assert not await is_confirmed(connection)
        assert history.unconfirmed


async def test_a_tail_that_began_anew_since_has_forgotten_what_it_had_seen(fresh_database_url: str) -> None:
    async with stopped_tail(fresh_database_url, facts=3) as (connection, tail, history):
        await connection.execute(CHANGE_THE_TIMELINE)
        await connection.execute(BEGIN_AN_EPOCH)
        async with running(tail.run()):
            await until(lambda: tail.epoch == 2)
            await history.look(connection, at_once=True)
        assert not await is_confirmed(connection)
        assert history.unconfirmed


async def test_a_process_that_began_after_the_change_confirms_nothing_until_another_has(
    fresh_database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with stopped_tail(fresh_database_url, facts=3) as (connection, tail, earlier):
        await connection.execute(CHANGE_THE_TIMELINE)
        later = HistoryCheck(tail)
        for _ in range(2):
            await later.look(connection, at_once=True)
        assert (await is_confirmed(connection), later.unconfirmed) == (False, True)
        assert [record.levelname for record in caplog.records if "epoch keep" in record.message] == ["WARNING"]
        await earlier.look(connection, at_once=True)
        await later.look(connection, at_once=True)
        assert (await is_confirmed(connection), later.unconfirmed) == (True, False)


async def test_a_fork_that_was_noticed_is_confirmed_by_nobody(fresh_database_url: str) -> None:
    async with stopped_tail(fresh_database_url, facts=3) as (connection, _, history):
        await connection.execute(CHANGE_THE_TIMELINE)
        await connection.execute("update factwire.log set forked_at = now()")
        await history.look(connection, at_once=True)
        assert not await keep_server(connection, await read_server(connection))
        assert not await is_confirmed(connection)
        await raise_epoch(connection, forked_after=None, by="test")
        assert await is_confirmed(connection)


async def test_a_server_that_does_not_tell_is_no_alarm(fresh_database_url: str) -> None:
    role = f"{name_of(fresh_database_url)}_asking"
    async with stopped_tail(fresh_database_url, facts=3) as (connection, tail, _):
        await connection.execute(CHANGE_THE_TIMELINE)
        await connection.execute(f'create role "{role}"')
        await connection.execute(
            f'grant usage on schema factwire to "{role}"; grant select on factwire.log to "{role}"'
        )
        await connection.execute("revoke execute on function pg_control_system() from public")
        await connection.execute(f'set role "{role}"')
        history = HistoryCheck(tail)
        try:
            assert await read_server(connection) is None
            await history.look(connection, at_once=True)
            assert not history.unconfirmed
        finally:
            await connection.execute(f'reset role; drop owned by "{role}"; drop role "{role}"')


async def test_a_role_that_may_not_store_the_server_says_so_once_and_goes_on(
    fresh_database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    role = f"{name_of(fresh_database_url)}_reading"
    async with stopped_tail(fresh_database_url, facts=3) as (connection, _, history):
        await connection.execute(CHANGE_THE_TIMELINE)
        await connection.execute(f'create role "{role}"; grant usage on schema factwire to "{role}"')
        await connection.execute(f'grant select on all tables in schema factwire to "{role}"; set role "{role}"')
        try:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await keep_server(connection, None)
            for _ in range(2):
                await history.look(connection, at_once=True)
            assert history.unconfirmed
            assert len([record for record in caplog.records if "factwire doctor" in record.message]) == 1
        finally:
            await connection.execute(f'reset role; drop owned by "{role}"; drop role "{role}"')
