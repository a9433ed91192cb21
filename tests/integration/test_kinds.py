"""Conditions by namespace and type are checked under the lock of the log: what they cost beside a large catalogue."""

import re

from app.domain.query import new_item
from app.store.appending import append
from app.store.database import Connection
from tests.integration.logs import connected, unless_any
from tests.integration.store import a_fact
from tests.service import ROOT

KINDS = 4000
NAMESPACES = 50
STATEMENTS = [
    found.replace(" into v_kinds", "").replace(" into v_count", "")
    for found in re.findall(
        r"select coalesce\([^;]* from factwire\.(?:types|type_counts)[^;]*",
        (ROOT / "alembic/sql/choose_postings_v2.sql").read_text(),
    )
]
ROWS_OF_TYPES = """
select coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0)
  from pg_stat_xact_user_tables
 where schemaname = 'factwire' and relname = 'types'
"""


async def load(connection: Connection) -> None:
    for start in range(0, KINDS, 1000):
        kinds = [(f"ns{n % NAMESPACES}", f"Kind{n}") for n in range(start, start + 1000)]
        await append(
            connection, [([a_fact(namespace=name, type=type, aggregate_ids=["order-1"]) for name, type in kinds], None)]
        )


async def test_the_names_of_a_condition_are_looked_up_in_a_hash(database_url: str) -> None:
    """Where each kind is compared with each name, a hundred names beside 20 000 kinds take 25 ms an item."""
    names = [f"none{n}" for n in range(100)]
    async with connected(database_url) as [connection]:
        await load(connection)
        plans = [await explained(connection, statement, names) for statement in STATEMENTS]
    assert len(plans) == 2
    for plan in plans:
        assert plan.count("hashed SubPlan") == 2, plan
        assert "= ANY" not in plan, plan


async def explained(connection: Connection, statement: str, names: list[str]) -> str:
    """The plan of a statement of choose_postings, with its arguments put in."""
    array = "array[" + ", ".join(f"'{name}'" for name in names) + "]"
    rows = await connection.fetch("explain " + re.sub(r"\bp_(namespaces|types)\b", array, statement))
    return "\n".join(row[0] for row in rows)


async def test_a_condition_with_a_tag_does_not_go_through_the_catalogue(database_url: str) -> None:
    async with connected(database_url) as [connection]:
        await load(connection)
        transaction = connection.transaction()
        await transaction.start()
        before = await connection.fetchval(ROWS_OF_TYPES)
        condition = unless_any(new_item(types=["none"], aggregate_ids=["order-1"]))
        assert not (await append(connection, [([a_fact()], condition)])).refused
        assert await connection.fetchval(ROWS_OF_TYPES) - before < 10
        await transaction.rollback()
