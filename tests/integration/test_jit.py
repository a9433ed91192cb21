"""JIT is on by default in PostgreSQL, and costs more than anything here takes."""

import asyncpg

from factwire.store.connection import connect
from tests.integration.store import opened

WITHOUT = """
select p.oid::regprocedure::text
  from pg_proc p
 where p.pronamespace = 'factwire'::regnamespace
   and 'enable_seqscan=off' = any (p.proconfig)
   and 'jit=off' <> all (p.proconfig)
"""
# What the planner is told not to do costs 10^10, far above the 10^5 from which on a statement is compiled.
PINNED = "select count(*) from pg_proc where pronamespace = 'factwire'::regnamespace and 'jit=off' = any (proconfig)"


async def test_no_function_that_pins_its_plan_is_compiled(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    assert await connection.fetch(WITHOUT) == []
    assert await connection.fetchval(PINNED) > 10
    await connection.close()


async def test_no_statement_of_a_session_of_ours_is_compiled(database_url: str) -> None:
    async with opened(database_url) as database:
        for lane in database.all():
            async with lane.acquire() as connection:
                assert await connection.fetchval("show jit") == "off"
    command = await connect(database_url, application_name="factwire keys")
    assert await command.fetchval("show jit") == "off"
    await command.close()
