"""What the SQL finds is what Query.matches says, in both directions and however small the steps."""

import asyncio

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factwire.domain.grants import EVERY_NAMESPACE, NamespaceSet, new_namespace_set
from factwire.domain.position import Position
from factwire.domain.query import Item, Query, new_item, restricted
from factwire.store.partitions import create_partition, read_room
from factwire.store.query_arguments import query_arrays
from tests.integration.store import a_fact, append_alone
from tests.integration.test_partitions import SMALL_FROM_THE_START
from tests.support.postgres import Databases, run_sql

NAMES = ["a", "b", "c"]
NAMESPACES = ["a", "b", "a.c", "a.c.d", "ab"]
PATTERNS = ["*", "a", "a.*", "a.c.*", "b.*", "ab", "none"]
VALUES = ["x", "y", "'; drop table factwire.facts; --", "%_\\"]
WALK = "select positions, through from factwire.walk_query($1, $2, $3, $4, $5, $6, $7, $8, 10, $9, $10)"

facts: st.SearchStrategy[dict[str, object]] = st.builds(
    dict,
    namespace=st.sampled_from(NAMESPACES),
    type=st.sampled_from(NAMES),
    aggregate_ids=st.lists(st.sampled_from(VALUES), max_size=3),
    meta=st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(VALUES), min_size=1, max_size=2), max_size=2),
)
items = st.builds(
    new_item,
    namespaces=st.lists(st.sampled_from([*NAMESPACES, "none", "*"]), max_size=2),
    types=st.lists(st.sampled_from([*NAMES, "none"]), max_size=2),
    aggregate_ids=st.lists(st.sampled_from([*VALUES, "none"]), max_size=2),
    any_aggregate_id=st.lists(st.sampled_from([*VALUES, "none"]), max_size=3),
    meta=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=2),
)
patterns = st.lists(st.sampled_from(PATTERNS), max_size=3)
grants = st.one_of(st.just(EVERY_NAMESPACE), st.builds(new_namespace_set, patterns, patterns))
queries = st.lists(items, max_size=3).map(lambda given: Query(tuple(given)))


@pytest.fixture(params=["one partition", "small partitions"])
def log_url(request: pytest.FixtureRequest, databases: Databases) -> str:
    """In small partitions postings stand in others than some of their facts, and a tag in many."""
    url = databases.create()
    if request.param == "small partitions":
        run_sql(url, SMALL_FROM_THE_START.replace("= 50", "= 15"))
    return url


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    published=st.lists(facts, min_size=1, max_size=12),
    asked=st.lists(st.tuples(queries, grants), min_size=1, max_size=8),
    hits_max=st.integers(1, 4),
    work_max=st.sampled_from([1, 3, 40, 1000]),
    grid=st.sampled_from([(0, 0), (1, 1), (2, 1), (3, 4)]),
    data=st.data(),
)
def test_the_sql_finds_what_the_reference_says(
    log_url: str,
    published: list[dict[str, object]],
    asked: list[tuple[Query, NamespaceSet]],
    hits_max: int,
    work_max: int,
    grid: tuple[int, int],
    data: st.DataObject,
) -> None:
    after = data.draw(st.integers(0, len(published)))

    async def run() -> None:
        connection = await asyncpg.connect(log_url)
        try:
            while (await read_room(connection))[0] < len(published):
                await create_partition(connection, room=len(published))
            new = [a_fact(**fact) for fact in published]
            first = await append_alone(connection, *new)
            low = Position(first - 1 + after)
            high = Position(first + len(new) - 1)
            for whole, readable in asked:
                query = restricted(whole, readable)
                expected = [
                    first + index
                    for index, fact in enumerate(new)
                    if first + index > low and whole.matches(fact.namespace, fact.type, set(fact.tags))
                    if fact.namespace in readable
                ]
                assert expected == [
                    first + index
                    for index, fact in enumerate(new)
                    if first + index > low and query.matches(fact.namespace, fact.type, set(fact.tags))
                ]
                for descending in (False, True):
                    found = await walk(connection, query, low, high, descending, hits_max, work_max, grid)
                    assert found == (expected[::-1] if descending else expected), (query, descending)
        finally:
            await connection.close()

    asyncio.run(run())


async def walk(
    connection: asyncpg.Connection,
    query: Query,
    low: int,
    high: int,
    descending: bool,
    hits_max: int,
    work_max: int,
    grid: tuple[int, int],
) -> list[int]:
    """All matches of (low, high], step by step; each step goes on or ends."""
    found: list[int] = []
    while low < high:
        row = await connection.fetchrow(WALK, *query_arrays(query), low, high, descending, hits_max, work_max, *grid)
        assert row is not None
        assert len(row["positions"]) <= hits_max
        found += row["positions"]
        before = (low, high)
        low, high = (low, row["through"]) if descending else (row["through"], high)
        assert (low, high) != before, "a step must go on"
    return found


def test_an_item_without_parts_matches_everything() -> None:
    assert Query((Item(),)).matches("a", "b", set())


@pytest.mark.parametrize("kind", ["a:", "m:", "t:"])
def test_no_kind_of_tag_can_imitate_another(kind: str) -> None:
    fact = a_fact(aggregate_ids=[f"{kind}x/y"], meta={"k": f"{kind}x"})
    assert not Query((new_item(aggregate_ids=["x/y"]),)).matches("n", "t", set(fact.tags))
    assert not Query((new_item(meta=[("k", "x")]),)).matches("n", "t", set(fact.tags))
