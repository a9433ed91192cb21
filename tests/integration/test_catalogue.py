"""The catalogue counts exactly, whenever the last fold was."""

from datetime import UTC, datetime, timedelta

from factwire.domain.grants import EVERY_NAMESPACE, new_namespace_set
from factwire.store.catalogue import ListedPage, fold_counts, read_namespaces, read_types, read_versions
from factwire.store.connection import Connection
from factwire.store.log import read_position
from tests.integration.store import a_fact, append_alone, opened

ALL = ListedPage()

ROWS_READ = """
select coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0)
  from pg_stat_xact_user_tables
 where schemaname = 'factwire'
"""


async def position_before(connection: Connection, time: datetime) -> int:
    state, _ = await read_position(connection, time, EVERY_NAMESPACE)
    return state.position


async def test_counts_are_exact_before_between_and_after_folds(database_url: str) -> None:
    async with opened(database_url) as database, database.append.connection() as connection:
        for step in range(1, 8):
            await append_alone(connection, a_fact(type="A"), a_fact(type="B", version=2), a_fact(type="A"))
            assert await types_of(connection) == {"A": ([1], 2 * step, 3 * step), "B": ([2], step, 3 * step - 1)}
            listed = await read_namespaces(connection, ListedPage())
            assert [tuple(row) for row in listed] == [("shop", 3 * step, 3 * step)]
            assert [tuple(row) for row in await read_versions(connection, "shop", "B")] == [(2, step, 3 * step - 1)]
            assert await fold_counts(connection, facts_max=2) == 2
        while await fold_counts(connection, facts_max=5):
            pass
        assert await types_of(connection) == {"A": ([1], 14, 21), "B": ([2], 7, 20)}
        assert await read_types(connection, "other", ListedPage()) == []
        assert await read_versions(connection, "shop", "C") == []


async def types_of(connection: Connection, listed: ListedPage = ALL) -> dict[str, tuple[list[int], int, int]]:
    rows = await read_types(connection, "shop", listed)
    return {row["type"]: (row["versions"], row["facts"], row["last_position"]) for row in rows}


async def test_names_are_listed_in_order_by_prefix_and_page_by_page(database_url: str) -> None:
    names = [f"tenant.{number:02}" for number in range(25)] + ["a", "tenant", "tenant.", "tenants", "z"]
    async with opened(database_url) as database, database.append.connection() as connection:
        await append_alone(connection, *[a_fact(namespace=name) for name in names])
        await append_alone(connection, *[a_fact(type=name, version=n % 2 + 1) for n, name in enumerate(names * 2)])
        assert await pages_of(connection, 7, "") == sorted([*names, "shop"])
        assert await pages_of(connection, 4, "tenant.") == sorted(name for name in names if name.startswith("tenant."))
        assert await pages_of(connection, 4, "none") == []
        readable = new_namespace_set(["a", "tenant.*", "tenant"], ["tenant.03", "tenant.17"])
        expected = sorted(name for name in names if name in readable)
        listed = await read_namespaces(connection, ListedPage(names_max=100), readable)
        assert [row["namespace"] for row in listed] == expected
        assert [
            row["namespace"]
            for row in await read_namespaces(connection, ListedPage("tenant.1", "tenant.12", 3), readable)
        ] == ["tenant.13", "tenant.14", "tenant.15"]
        assert list(await types_of(connection, ListedPage("tenant.0", "tenant.07"))) == ["tenant.08", "tenant.09"]


async def pages_of(connection: Connection, size: int, prefix: str) -> list[str]:
    names: list[str] = []
    while rows := await read_namespaces(connection, ListedPage(prefix, names[-1] if names else "", size)):
        names += [row["namespace"] for row in rows]
    return names


async def test_a_page_of_the_catalogue_reads_no_more_where_there_are_many_names(database_url: str) -> None:
    async with opened(database_url) as database, database.append.connection() as connection:
        for start in range(0, 4000, 1000):
            await append_alone(connection, *[a_fact(namespace=f"n{number}") for number in range(start, start + 1000)])
        await fold_counts(connection, facts_max=10_000)
        async with connection.transaction():
            before = await connection.fetchval(ROWS_READ)
            assert len(await read_namespaces(connection, ListedPage(names_max=10))) == 10
            assert await connection.fetchval(ROWS_READ) - before <= 40


async def test_the_position_before_a_time_is_that_of_the_last_fact_published_before_it(database_url: str) -> None:
    async with opened(database_url) as database, database.append.connection() as connection:
        assert await position_before(connection, datetime.now(UTC)) == 0
        for _ in range(20):
            await append_alone(connection, a_fact())
        times = [row[0] for row in await connection.fetch("select published_at from factwire.facts order by position")]
        for index, time in enumerate(times):
            expected = sum(other < time for other in times)
            assert await position_before(connection, time) == expected, index
            assert await position_before(connection, time + timedelta(microseconds=1)) == sum(
                other <= time for other in times
            )
