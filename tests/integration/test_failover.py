"""A server that is no primary: nothing is written, and it is said so, until there is one again."""

import asyncio

import pytest

from factwire.domain.errors import OutcomeUnknown, Unavailable
from factwire.store.schema.migrate import migrate
from tests.conftest import StartPostgres
from tests.integration.logs import connected, fact, opened_database, opened_publisher
from tests.support.postgres import name_of
from tests.support.waiting import until

WAITING_FOR_THE_STANDBY = "select pid from pg_stat_activity where wait_event = 'SyncRep'"


async def test_no_server_of_the_wanted_role_is_unavailable(fresh_database_url: str) -> None:
    separator = "&" if "?" in fresh_database_url else "?"
    async with opened_database(f"{fresh_database_url}{separator}target_session_attrs=standby") as database:
        with pytest.raises(Unavailable):
            async with database.read():
                pass


async def test_a_publish_to_a_read_only_server_is_unavailable_and_the_next_connection_is_a_new_one(
    fresh_database_url: str,
) -> None:
    name = name_of(fresh_database_url)
    async with connected(fresh_database_url) as [operator], opened_publisher(fresh_database_url) as publisher:
        await operator.execute(f'alter database "{name}" set default_transaction_read_only = on')
        with pytest.raises(Unavailable):
            await publisher.publish([fact()])
        await operator.execute(f'alter database "{name}" reset default_transaction_read_only')
        assert list((await publisher.publish([fact()])).positions) == [1]


async def test_a_wait_for_the_standby_that_is_cancelled_is_no_acknowledgement(start_postgres: StartPostgres) -> None:
    url = start_postgres().url
    await asyncio.to_thread(migrate, url)
    new = fact()
    async with connected(url) as [operator], opened_publisher(url) as publisher:
        assert list((await publisher.publish([fact()])).positions) == [1]
        await operator.execute("alter system set synchronous_standby_names = 'a_standby_that_never_comes'")
        await operator.execute("select pg_reload_conf()")
        await until(lambda: operator.fetchval("select current_setting('synchronous_standby_names') <> ''"))
        for _ in range(2):  # the retry finds the facts stored, which proves nothing either
            publishing = asyncio.create_task(publisher.publish([new]))
            await until(lambda: operator.fetchval(WAITING_FOR_THE_STANDBY))
            await operator.fetch("select pg_cancel_backend($1)", await operator.fetchval(WAITING_FOR_THE_STANDBY))
            with pytest.raises(OutcomeUnknown) as problem:
                await publishing
            assert problem.value.members["ids"] == [new.id]

        await operator.execute("alter system reset synchronous_standby_names")
        await operator.execute("select pg_reload_conf()")
        published = await publisher.publish([new])
        assert (list(published.positions), published.replayed) == ([2], True)
