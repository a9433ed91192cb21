"""The chain reaches back to the first fact, and services of the version before go on with it."""

from asyncio import to_thread
from uuid import uuid4

import asyncpg
import pytest
from alembic import command

from app.domain.fact import NewFact
from app.domain.position import Position
from app.store.chain import Flaw
from app.store.database import Connection
from app.store.master_keys import NO_KEYS
from app.store.migrations import configuration, migrate
from app.store.verifying import Verifier
from tests.integration.store import a_fact, append_alone
from tests.postgres import run_sql

# What services of an old version call, for one fact, and what those of the version before do.
APPEND_AT_FIRST = """
select head
  from factwire.append_facts(
    '{0}', array[$1::uuid], array[$2::text], array[$3::text], '{1}', $4, $5::bytea, '{1}',
    array[octet_length($5::bytea)], $6, array_fill(1, array[cardinality($6::text[])]),
    array_fill(null::text, array[cardinality($6::text[])]), array[$2::text], array[$3::text], '{1}',
    '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', 100)
"""

APPEND_AS_BEFORE = """
select head
  from factwire.append(
    '{0}', array[$1::uuid], array[$2::text], array[$3::text], '{1}', $4, $5::bytea, '{1}',
    array[octet_length($5::bytea)], $6, array_fill(1, array[cardinality($6::text[])]),
    array_fill(null::text, array[cardinality($6::text[])]), array[$2::text], array[$3::text], '{1}',
    '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', 100, '{}', '{}', '', '{}', '{}', null, null, null, '{}', '{}', '{}',
    '{}')
"""

ROLE = "serving_before"


async def append_as(statement: str, connection: Connection, fact: NewFact) -> None:
    tags = [*fact.tags, f"t:{fact.namespace}/{fact.type}"]
    await connection.execute(statement, fact.id, fact.namespace, fact.type, fact.digest, fact.document, tags)


async def verified(connection: Connection, until: int) -> tuple[list[Flaw], Position | None]:
    verifier = Verifier(connection, NO_KEYS)
    found = verifier.run(after=Position(0), until=Position(until))
    return [each async for each in found if isinstance(each, Flaw)], verifier.chain.began_at


async def test_a_log_from_before_is_chained_and_the_version_before_goes_on(fresh_database_url: str) -> None:
    await to_thread(command.downgrade, configuration(fresh_database_url), "0005")
    connection = await asyncpg.connect(fresh_database_url)
    for number in range(5):
        await append_as(APPEND_AT_FIRST, connection, a_fact(aggregate_ids=[f"order-{number}"]))
    await to_thread(migrate, fresh_database_url)
    await append_as(APPEND_AS_BEFORE, connection, a_fact())
    await append_alone(connection, a_fact(), a_fact())
    await append_as(APPEND_AS_BEFORE, connection, a_fact(meta={"tenant": "a"}))
    assert await verified(connection, 9) == ([], 1)
    # Of facts from before the chain knows no bytes: it does not claim that they are few.
    assert await connection.fetchval("select factwire.bytes_at_most(3, 7)") is None
    assert await connection.fetchval("select factwire.bytes_at_most(0, 7)") > 2**24
    assert await connection.fetchval("select factwire.bytes_at_most(7, 9)") < 2000
    await connection.close()


async def test_the_chain_of_a_long_log_begins_behind_it(fresh_database_url: str) -> None:
    await to_thread(command.downgrade, configuration(fresh_database_url), "0005")
    connection = await asyncpg.connect(fresh_database_url)
    for _ in range(3):
        await append_as(APPEND_AT_FIRST, connection, a_fact())
    await to_thread(migrate, fresh_database_url)
    await connection.execute("set session_replication_role = replica")
    await connection.execute("delete from factwire.chain")
    assert await connection.fetchval("select factwire.chain_older(2)") == 0
    await append_alone(connection, a_fact())
    assert await verified(connection, 4) == ([], 4)
    await connection.close()


async def test_a_role_that_served_before_the_migration_serves_on(fresh_database_url: str) -> None:
    role = f"{ROLE}_{uuid4().hex[:8]}"
    await to_thread(command.downgrade, configuration(fresh_database_url), "0005")
    try:
        await to_thread(run_sql, fresh_database_url, f"create role {role}")
    except asyncpg.InsufficientPrivilegeError:
        pytest.skip("the role of the tests may not create roles")
    try:
        connection = await asyncpg.connect(fresh_database_url)
        await connection.execute(
            f"grant usage on schema factwire to {role};"
            f"grant select on all tables in schema factwire to {role};"
            f"grant insert on factwire.facts, factwire.fact_tags, factwire.fact_ids, factwire.types to {role}"
        )
        await to_thread(migrate, fresh_database_url)
        await connection.execute(f"set role {role}")
        await append_as(APPEND_AS_BEFORE, connection, a_fact())
        await append_alone(connection, a_fact())
        assert await verified(connection, 2) == ([], 1)
        await connection.close()
    finally:
        await to_thread(run_sql, fresh_database_url, f"drop owned by {role}")
        await to_thread(run_sql, fresh_database_url, f"drop role {role}")
