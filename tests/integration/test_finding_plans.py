"""What finding touches does not grow with the log, its namespaces and types, also by plans made on empty tables.

A look-up that a plan turns round goes through a whole table for each of its rows: that shows in what is touched.
"""

import asyncpg
import pytest

from factwire.domain.condition import fail_if_match
from factwire.domain.grants import EVERY_NAMESPACE, NamespaceSet, new_namespace_set
from factwire.domain.position import START, Cursor
from factwire.domain.query import Item, Query, new_item, restricted
from factwire.store.append import append
from factwire.store.catalogue import ListedPage, fold_counts, read_namespaces, read_types, read_versions
from factwire.store.condition_search import search
from factwire.store.connection import Connection
from factwire.store.read import Form, PageBounds, read_page
from tests.integration.store import a_fact
from tests.integration.test_query_plans import Touched

TOUCHED = """
select coalesce(sum(seq_scan), 0) as scans,
       coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0) as rows
  from pg_stat_xact_user_tables
 where schemaname = 'factwire' and relname not in ('log', 'counted', 'epochs')
"""

READERS = (
    EVERY_NAMESPACE,
    new_namespace_set(["*"], ["factwire"]),
    new_namespace_set(["tenant.*"], ["tenant.7"]),
    new_namespace_set(["tenant.3"]),
)
# Of each, what is asked for, and how many rows it may take: of a few facts, each found and then read.
ASKED: tuple[tuple[Item, int], ...] = (
    (new_item(aggregate_ids=["order-3"]), 60),
    (new_item(aggregate_ids=["order-3"], types=["T3"]), 60),
    (new_item(namespaces=["tenant.3"]), 400),
    (new_item(namespaces=["tenant.3"], types=["T3"]), 400),
    (new_item(namespaces=["tenant.3", "tenant.4"], types=["T3", "T4"], aggregate_ids=["order-3"]), 60),
    (new_item(types=["Rare"]), 60),
    (new_item(types=["Never"]), 20),
    (new_item(aggregate_ids=["order-3", "none"]), 20),
)
SMALL, LARGE = (2_000, 20), (20_000, 1_000)  # facts, and namespaces


async def touched_by(connection: Connection, item: Item, reader: NamespaceSet) -> list[Touched]:
    """By a page in each order, a condition that is checked under the lock, and its search without it."""
    query, after = restricted(Query((item,)), reader), START
    found = []
    for use in ("asc", "desc", "condition", "search"):
        transaction = connection.transaction()
        await transaction.start()
        before = await connection.fetchrow(TOUCHED)
        if use == "condition":
            await append(connection, [([a_fact(namespace="tenant.3")], fail_if_match(query, Cursor(0, after)))])
        elif use == "search":
            await search(connection, fail_if_match(query, Cursor(0, after)))
        else:
            bounds = PageBounds(facts_max=10)
            await read_page(connection, query, after=after, descending=use == "desc", form=Form.ELEMENTS, bounds=bounds)
        now = await connection.fetchrow(TOUCHED)
        assert before is not None
        assert now is not None
        found.append(Touched(now["scans"] - before["scans"], int(now["rows"] - before["rows"])))
        await transaction.rollback()
    return found


async def load(connection: Connection, facts: int, namespaces: int) -> None:
    for start in range(0, facts, 1000):
        numbers = range(start, start + 1000)
        batch = [
            a_fact(namespace=f"tenant.{n % namespaces}", type=f"T{n % 20}", aggregate_ids=[f"order-{n}"])
            for n in numbers
        ]
        await append(connection, [(batch, None)])
    await append(connection, [([a_fact(namespace="tenant.3", type="Rare")], None)])
    await fold_counts(connection, facts_max=facts + 1)


async def use_catalogue(connection: Connection) -> None:
    await read_namespaces(connection, ListedPage(names_max=10), READERS[2])
    await read_types(connection, "tenant.3", ListedPage(names_max=10))
    await read_versions(connection, "tenant.3", "T3")


async def use_everything(connection: Connection) -> None:
    """Once more often than PostgreSQL tries custom plans before it settles on a generic one."""
    for _ in range(6):
        for item, _ in ASKED:
            for reader in READERS:
                await touched_by(connection, item, reader)
        await use_catalogue(connection)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
async def test_what_is_found_is_what_it_costs(fresh_database_url: str, size: tuple[int, int]) -> None:
    early = await asyncpg.connect(fresh_database_url)
    await use_everything(early)
    await load(early, *size)
    late = await asyncpg.connect(fresh_database_url)
    await late.execute(
        "analyze factwire.facts, factwire.fact_tags, factwire.fact_ids, factwire.types, factwire.namespaces"
    )
    for connection in (early, late):
        for item, rows_max in ASKED:
            for reader in READERS:
                told = await touched_by(connection, item, reader)
                assert not [each for each in told if each.scans], (item, reader)
                assert max(each.rows for each in told) <= rows_max, (item, reader, told)
        transaction = connection.transaction()
        await transaction.start()
        before = await connection.fetchrow(TOUCHED)
        await use_catalogue(connection)
        now = await connection.fetchrow(TOUCHED)
        assert before is not None
        assert now is not None
        assert (now["scans"] - before["scans"], now["rows"] - before["rows"] <= 200) == (0, True)
        await transaction.rollback()
        await connection.close()
