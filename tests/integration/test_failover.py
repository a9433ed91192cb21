"""A server that is no primary: nothing is written, and it is said so, until there is one again."""

import pytest

from app.domain.errors import Unavailable
from tests.integration.logs import connected, fact, opened_database, opened_publisher
from tests.postgres import name_of


async def test_no_server_of_the_wanted_role_is_unavailable(fresh_database_url: str) -> None:
    separator = "&" if "?" in fresh_database_url else "?"
    async with opened_database(f"{fresh_database_url}{separator}target_session_attrs=standby") as database:
        with pytest.raises(Unavailable):
            async with database.reading.reading():
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
