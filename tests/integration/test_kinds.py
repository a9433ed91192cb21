"""Conditions by namespace and type are checked under the lock of the log: what they cost beside a large catalogue."""

from time import perf_counter

from app.domain.condition import Condition
from app.domain.query import new_item
from app.store.appending import append
from app.store.database import Connection
from tests.integration.logs import connected, unless_any
from tests.integration.store import a_fact

KINDS = 4000
NAMESPACES = 50
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


async def seconds_of(connection: Connection, condition: Condition) -> float:
    """The least of a few attempts, which are taken back."""
    least = float("inf")
    for _ in range(4):
        transaction = connection.transaction()
        await transaction.start()
        began_at = perf_counter()
        appended = await append(connection, [([a_fact()], condition)])
        least = min(least, perf_counter() - began_at)
        assert not appended.refused
        await transaction.rollback()
    return least


async def test_a_condition_of_many_names_takes_little_longer_than_one_of_few(database_url: str) -> None:
    async with connected(database_url) as [connection]:
        await load(connection)
        few = new_item(namespaces=["ns1", "ns2"], types=["none"])
        many = new_item(
            namespaces=[f"ns{n}" for n in range(NAMESPACES)] + [f"none{n}" for n in range(50)],
            types=[f"none{n}" for n in range(100)],
        )
        assert await seconds_of(connection, unless_any(*[many] * 32)) < 6 * await seconds_of(
            connection, unless_any(*[few] * 32)
        )


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
