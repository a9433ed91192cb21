"""At 50 000 facts no statement scans a table, and each touches few rows, even if it was planned on empty tables."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from factwire.domain.condition import fail_if_match
from factwire.domain.grants import new_namespace_set
from factwire.domain.position import START, Cursor, Position
from factwire.domain.query import EVERYTHING, Query, new_item, restricted
from factwire.store.append import Refusal, append
from factwire.store.connection import Connection
from factwire.store.log import resolve
from factwire.store.read import Form, PageBounds, read_page
from factwire.store.read_tail import read_tail
from tests.integration.store import a_fact

FACTS = 50_000
TYPES = 24
ORDER = Query((new_item(aggregate_ids=["order-7"]),))
TYPE = Query((new_item(types=["T7"]),))
TWO_KEYS = Query((new_item(aggregate_ids=["customer-7"], meta=[("tenant", "7")]),))
TYPE_AND_KEY = Query((new_item(types=["T7"], aggregate_ids=["customer-7"]),))

# The counters of the backend itself, which need no flush; earlier transactions may be in them.
TOUCHED = """
select coalesce(sum(seq_scan), 0) as scans,
       coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0) as rows
  from pg_stat_xact_user_tables
 where schemaname = 'factwire'
   and relname ~ '^(facts|fact_tags|fact_ids)'
"""


@dataclass
class Touched:
    scans: int = 0
    rows: int = 0


@asynccontextmanager
async def touching(connection: Connection) -> AsyncIterator[Touched]:
    """Counts what the statements of the block touch, and takes back what they write."""
    touched = Touched()
    transaction = connection.transaction()
    await transaction.start()
    before = await connection.fetchrow(TOUCHED)
    yield touched
    after = await connection.fetchrow(TOUCHED)
    assert before is not None
    assert after is not None
    touched.scans, touched.rows = after["scans"] - before["scans"], after["rows"] - before["rows"]
    await transaction.rollback()


async def load(connection: Connection) -> None:
    for start in range(0, FACTS, 1000):
        batch = [
            a_fact(
                type=f"T{n % TYPES}",
                aggregate_ids=[f"order-{n // 5}", f"customer-{n % 500}"],
                meta={"tenant": str(n % 10)},
            )
            for n in range(start, start + 1000)
        ]
        await append(connection, [(batch, None)])


async def use_everything(connection: Connection) -> None:
    """Once more often than PostgreSQL tries custom plans before it settles on a generic one."""
    for _ in range(6):
        for query in (EVERYTHING, ORDER, TYPE, TWO_KEYS, TYPE_AND_KEY):
            for descending in (False, True):
                await read_page(
                    connection, query, after=START, descending=descending, form=Form.EVENTS, bounds=PageBounds()
                )
        await read_tail(connection, anchor=START, facts_max=10, bytes_max=1000)
        await resolve(connection, "head")


async def test_few_rows_are_touched_also_by_plans_made_on_empty_tables(fresh_database_url: str) -> None:
    early = await asyncpg.connect(fresh_database_url)
    await use_everything(early)
    await load(early)
    late = await asyncpg.connect(fresh_database_url)
    await late.execute("analyze factwire.facts, factwire.fact_tags, factwire.fact_ids")
    for connection in (early, late):
        await check_pages(connection)
        await check_appends(connection)
        async with touching(connection) as touched:
            read = await read_tail(connection, anchor=Position(FACTS - 5), facts_max=10, bytes_max=10_000)
            await resolve(connection, "head")
        assert len(read.facts) == 6
        assert touched.scans == 0
        assert touched.rows <= 20
        await connection.close()


async def check_pages(connection: Connection) -> None:
    bounds = PageBounds(facts_max=100)
    for query, expected, rows_max in (
        (EVERYTHING, 100, 210),
        (ORDER, 5, 20),
        (TYPE, 100, 250),
        (TWO_KEYS, 100, 1500),
        (TYPE_AND_KEY, 17, 600),
    ):
        for descending in (False, True):
            async with touching(connection) as touched:
                page = await read_page(
                    connection, query, after=START, descending=descending, form=Form.EVENTS, bounds=bounds
                )
            assert page.facts == expected, query
            assert touched.scans == 0, query
            assert touched.rows <= rows_max, query


async def check_appends(connection: Connection) -> None:
    absent = Query((new_item(aggregate_ids=["order-none"]),))
    for query, outcomes in ((absent, []), (ORDER, [Refusal.FAILED]), (TYPE_AND_KEY, [Refusal.FAILED])):
        async with touching(connection) as touched:
            done = await append(connection, [([a_fact()], fail_if_match(query, Cursor(0, START)))])
        assert [refused.refusal for refused in done.refused.values()] == outcomes
        assert touched.scans == 0
        assert touched.rows <= 1500
    for query, readable, outcomes, rows_max in (
        (absent, new_namespace_set(["shop"]), [], 20),
        (absent, new_namespace_set(["*"], ["factwire"]), [], 20),
        (ORDER, new_namespace_set(["shop", "shop.*"]), [Refusal.FAILED], 100),
        (ORDER, new_namespace_set(["*"], ["shop"]), [], 100),
    ):
        async with touching(connection) as touched:
            condition = fail_if_match(restricted(query, readable), Cursor(0, START))
            done = await append(connection, [([a_fact()], condition)])
        assert [refused.refusal for refused in done.refused.values()] == outcomes
        assert touched.scans == 0
        assert touched.rows <= rows_max
