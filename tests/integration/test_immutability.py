"""P9: the database itself refuses to change what was published."""

import asyncpg
import pytest

from tests.integration.store import a_fact, append_alone, opened

TABLES = ("facts", "facts_p0", "fact_tags", "fact_tags_p0", "fact_ids")


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "statement",
    [
        "update factwire.{} set position = position",
        "update factwire.{} set position = position where false",
        "delete from factwire.{}",
        "delete from factwire.{} where false",
        "truncate factwire.{}",
    ],
)
async def test_a_change_is_refused(database_url: str, table: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url)
    await append_alone(connection, a_fact(aggregate_ids=["order-1"]))
    with pytest.raises(asyncpg.PostgresError) as refusal:
        await connection.execute(statement.format(table))
    assert refusal.value.sqlstate == "FW001"
    assert await connection.fetchval(f"select count(*) from factwire.{table}") > 0  # noqa: S608
    await connection.close()


async def test_no_connection_of_the_service_weakens_the_commit(database_url: str) -> None:
    async with opened(database_url) as database, database.append.connection() as connection:
        assert await connection.fetchval("show synchronous_commit") == "on"
