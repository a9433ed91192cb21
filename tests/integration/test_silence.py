"""What others publish shows in no position, cursor or count of one who may not read it, nor in the work of finding.

Two logs have the same facts of the reader at the same positions. Those of others are drawn for each log by itself.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factwire.domain.condition import fail_if_match
from factwire.domain.grants import NamespaceSet, new_namespace_set
from factwire.domain.position import START, Cursor
from factwire.domain.query import Query, new_item, restricted
from factwire.store.activity import Intervals, read_activity
from factwire.store.append import append
from factwire.store.catalogue import fold_counts
from factwire.store.connection import Connection
from factwire.store.log import read_position
from factwire.store.query_arguments import query_arrays
from factwire.store.read import Form, PageBounds, read_page
from tests.access.keys import known, make_key, new_client, new_grants
from tests.conftest import StartService
from tests.e2e.wire import streaming
from tests.integration.store import a_fact, append_alone
from tests.integration.test_query_arguments import PATTERNS
from tests.integration.test_query_plans import touching
from tests.support.postgres import Databases

WALK = "select positions, through from factwire.walk_query($1, $2, $3, $4, $5, $6, $7, $8, 60, $9, $10)"

OWN = ["a", "a.c", "a.c.d", "b"]
FOREIGN = ["ab", "a.c.x", "payroll", "aa", "0"]
NAMES, VALUES = ["t", "u"], ["x", "y", "z"]
READABLE = new_namespace_set(["a", "a.*", "b"], ["a.c.x"])

facts: st.SearchStrategy[dict[str, object]] = st.builds(
    dict,
    type=st.sampled_from(NAMES),
    aggregate_ids=st.lists(st.sampled_from(VALUES), max_size=2),
    meta=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=2),
)
places = st.lists(st.one_of(st.none(), st.tuples(st.sampled_from(OWN), facts)), min_size=4, max_size=24)
items = st.builds(
    new_item,
    namespaces=st.lists(st.sampled_from([*OWN, *FOREIGN]), max_size=2),
    types=st.lists(st.sampled_from(NAMES), max_size=2),
    aggregate_ids=st.lists(st.sampled_from(VALUES), max_size=2),
    meta=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=1),
)
queries = st.lists(items, max_size=3).map(lambda given: Query(tuple(given)))


@pytest.fixture
def two_logs(databases: Databases) -> tuple[str, str]:
    return databases.create(), databases.create()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    own=places,
    asked=st.lists(queries, min_size=1, max_size=6),
    hits_max=st.integers(1, 4),
    work_max=st.sampled_from([1, 40, 1000]),
    grid=st.sampled_from([(1, 1), (3, 2), (1000, 1)]),
    data=st.data(),
)
def test_where_a_page_ends_says_nothing_of_what_others_published(
    two_logs: tuple[str, str],
    own: list[tuple[str, dict[str, object]] | None],
    asked: list[Query],
    hits_max: int,
    work_max: int,
    grid: tuple[int, int],
    data: st.DataObject,
) -> None:
    foreign = st.builds(lambda namespace, fact: a_fact(namespace=namespace, **fact), st.sampled_from(FOREIGN), facts)
    worlds = [
        [data.draw(foreign) if each is None else a_fact(namespace=each[0], **each[1]) for each in own] for _ in range(2)
    ]

    async def run() -> None:
        connections = [await asyncpg.connect(url) for url in two_logs]
        try:
            firsts = [
                await append_alone(connection, *world) for connection, world in zip(connections, worlds, strict=True)
            ]
            assert firsts[0] == firsts[1]
            low, high = firsts[0] - 1, firsts[0] - 1 + len(own)
            for query in asked:
                arrays = query_arrays(restricted(query, READABLE))
                for descending in (False, True):
                    pages = [
                        await walk(connection, arrays, low, high, descending, hits_max, work_max, grid)
                        for connection in connections
                    ]
                    assert pages[0] == pages[1], (query, descending)
        finally:
            for connection in connections:
                await connection.close()

    asyncio.run(run())


async def walk(
    connection: asyncpg.Connection,
    arrays: Sequence[list[str]],
    low: int,
    high: int,
    descending: bool,
    hits_max: int,
    work_max: int,
    grid: tuple[int, int],
) -> list[tuple[list[int], int]]:
    """Every page to the end: the positions on it, and where it ended."""
    pages = []
    while low < high:
        row: Any = await connection.fetchrow(WALK, *arrays, low, high, descending, hits_max, work_max, *grid)
        pages.append((row["positions"], row["through"]))
        low, high = (low, row["through"]) if descending else (row["through"], high)
    return pages


@pytest.mark.parametrize("pattern", PATTERNS[1:])
async def test_finding_is_the_same_work_however_much_others_published_about_the_same(
    two_logs: tuple[str, str], pattern: str
) -> None:
    """4 000 facts of others about one aggregate, against none: the same rows are looked at."""
    readable = new_namespace_set([pattern], ["payroll"])
    touched = []
    for url, foreign in zip(two_logs, (0, 4000), strict=True):
        connection = await asyncpg.connect(url)
        await append_alone(connection, *[a_fact(namespace="a", aggregate_ids=["order-7"]) for _ in range(3)])
        for start in range(0, 4000, 1000):
            about = ["order-7"] if start < foreign else ["order-8"]
            await append_alone(
                connection, *[a_fact(namespace="payroll", type="Secret", aggregate_ids=about) for _ in range(1000)]
            )
        touched.append([await rows_of_page(connection, query, readable) for query in same_questions()])
        touched[-1] += [await rows_of_condition(connection, query, readable) for query in same_questions()]
        await connection.close()
    assert touched[0] == touched[1]


def same_questions() -> list[Query]:
    about = ["order-7"]
    return [
        Query((new_item(aggregate_ids=about),)),
        Query((new_item(aggregate_ids=about, types=["Secret"]),)),
        Query((new_item(types=["Secret"], namespaces=["a"]),)),
        Query((new_item(aggregate_ids=about, meta=[("k", "v")]),)),
        Query(tuple(new_item(aggregate_ids=[*about, f"own-{n}"]) for n in range(32))),
    ]


async def rows_of_page(connection: Connection, query: Query, readable: NamespaceSet) -> list[int]:
    rows = []
    for descending in (False, True):
        async with touching(connection) as touched:
            await read_page(
                connection,
                restricted(query, readable),
                after=START,
                descending=descending,
                form=Form.ELEMENTS,
                bounds=PageBounds(),
            )
        rows.append(int(touched.rows))
    return rows


async def rows_of_condition(connection: Connection, query: Query, readable: NamespaceSet) -> list[int]:
    async with touching(connection) as touched:
        await append(
            connection, [([a_fact(namespace="a")], fail_if_match(restricted(query, readable), Cursor(0, START)))]
        )
    return [int(touched.rows)]


async def test_the_position_at_a_time_is_that_of_a_fact_that_may_be_read(database_url: str) -> None:
    readable = new_namespace_set(["a"])
    connection = await asyncpg.connect(database_url)
    try:
        before = datetime.now(UTC)
        times = []
        for number in range(12):
            await append_alone(connection, a_fact(namespace="a" if number % 4 == 0 else "payroll"))
            times.append(
                await connection.fetchval("select published_at from factwire.facts order by position desc limit 1")
            )
        assert (await read_position(connection, before, readable))[0].position == 0
        for number, time in enumerate(times):
            state, published_at = await read_position(connection, time + timedelta(microseconds=1), readable)
            assert state.position == number // 4 * 4 + 1
            assert published_at == times[number // 4 * 4]
            assert state.head == 12
        head, _ = await read_position(connection, None, readable)
        assert head.position == 12
    finally:
        await connection.close()


@pytest.mark.parametrize("tags", [0, 8, 30])
async def test_what_a_stream_tells_on_its_way_says_nothing_of_what_others_published(
    start_service: StartService, tags: int
) -> None:
    """Through the newest facts, which are in memory: where a batch of them ends depends on what they are."""
    service = await start_service(auth="keys")
    others = (await make_key(service.database_url, new_grants(publish=(["payroll"], [])))).secret
    reader = (await make_key(service.database_url, new_grants(publish=(["a"], []), read=(["a"], [])))).secret
    await known(service.url, others, reader)
    async with new_client(service.url, others, timeout=20) as client:
        fact = {"namespace": "payroll", "type": "T", "aggregate_ids": [f"a{n}" for n in range(tags)], "payload": None}
        for _ in range(30):
            (await client.post("/v1/facts", json={"facts": [fact] * 250})).raise_for_status()
    async with streaming(service.url, "?after=start&aggregate_id=order-1", secret=reader) as stream:
        body = await stream.read_until(lambda body: b"caught-up" in body)
    assert body.count(b"event: ") == 1


async def test_activity_touches_no_row_of_others(database_url: str) -> None:
    """The same counts from the same rows, whatever others have published in the same minutes."""
    connection = await asyncpg.connect(database_url)
    readable = new_namespace_set(["a", "a.*"])
    found = []
    try:
        await append_alone(connection, a_fact(namespace="a"), a_fact(namespace="a.c"), a_fact(namespace="a"))
        for foreign in (0, 500):
            for number in range(foreign):
                await append_alone(connection, a_fact(namespace=f"payroll.{number}", type=f"T{number}"))
            while await fold_counts(connection, facts_max=1000):
                pass
            now = datetime.now(UTC).replace(second=0, microsecond=0)
            intervals = Intervals(now - timedelta(hours=1), now + timedelta(hours=1), 7200)
            await read_activity(connection, readable, intervals, by="type")  # plans it
            async with touching(connection) as touched:
                counts = await read_activity(connection, readable, intervals, by="type")
            found.append((counts.series, counts.rest, touched.rows))
        assert found[0] == found[1]
        assert sum(series.total for series in counts.series) == 3
    finally:
        await connection.close()
