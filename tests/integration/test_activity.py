"""Activity by minute: what it counts, in which interval, and that a database from before is counted as well."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from factwire.domain.errors import LimitExceeded
from factwire.domain.grants import EVERY_NAMESPACE, NamespaceSet, new_namespace_set
from factwire.store.activity import Grouping, Intervals, read_activity
from factwire.store.catalogue import fold_counts
from factwire.store.connection import Connection
from tests.integration.store import a_fact, append_alone

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
MINUTES = 120
NAMESPACES = ("a", "a.b", "b", "payroll")
TYPES = ("T", "U")
READERS = (EVERY_NAMESPACE, new_namespace_set(["a"]), new_namespace_set(["a.*", "b"]), new_namespace_set(["*"], ["a"]))
# The clock of the database sets the time of a fact: a fact of a chosen time is inserted as append would store it.
INSERT = """
insert into factwire.facts (position, id, published_at, namespace, type, version, document)
values ($1, gen_random_uuid(), $2, $3, $4, 1, '')
"""

Fact = tuple[datetime, str, str]


async def insert(connection: Connection, facts: list[Fact]) -> None:
    head = await connection.fetchval("select coalesce(max(last_position), 0) from factwire.chain")
    for position, (time, namespace, type) in enumerate(facts, head + 1):
        await connection.execute(INSERT, position, time, namespace, type)
        await connection.execute(
            "insert into factwire.namespaces values ($1, 'p', 1) on conflict do nothing", namespace
        )
    await connection.execute(
        "insert into factwire.chain values ($1, $2, $3, '')", head + len(facts), head + 1, facts[-1][0]
    )


def some_facts(seed: int, count: int) -> list[Fact]:
    chosen = random.Random(seed)
    times = sorted(BEGIN + timedelta(seconds=chosen.uniform(0, MINUTES * 60)) for _ in range(count))
    return [(time, chosen.choice(NAMESPACES), chosen.choice(TYPES)) for time in times]


async def fold_all(connection: Connection, facts_max: int) -> None:
    while await fold_counts(connection, facts_max=facts_max):
        pass


def expected(
    facts: list[Fact], readable: NamespaceSet, intervals: Intervals, by: Grouping | None
) -> dict[tuple[str | None, str | None], list[int]]:
    counted: Counter[tuple[str | None, str | None, int]] = Counter()
    for time, namespace, type in facts:
        place = int((time - intervals.begin).total_seconds() // intervals.seconds)
        if namespace in readable and 0 <= place < intervals.count:
            counted[namespace if by else None, type if by == "type" else None, place] += 1
    names = {(namespace, type) for namespace, type, _ in counted}
    return {name: [counted[*name, place] for place in range(intervals.count)] for name in names}


@pytest.mark.parametrize("by", [None, "namespace", "type"])
@pytest.mark.parametrize("seconds", [60, 300, 3600])
async def test_each_fact_is_counted_in_its_interval(database_url: str, seconds: int, by: Grouping | None) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        facts = some_facts(seconds, 500)
        await insert(connection, facts)
        await fold_all(connection, 70)
        later = timedelta(seconds=seconds)
        for intervals in (
            Intervals(BEGIN, BEGIN + timedelta(minutes=MINUTES), seconds),
            Intervals(BEGIN + later, BEGIN + 2 * later, seconds),
            Intervals(BEGIN - later, BEGIN, seconds),
        ):
            for readable in READERS:
                counts = await read_activity(connection, readable, intervals, by=by)
                found = {(series.namespace, series.type): series.facts for series in counts.series}
                assert found == expected(facts, readable, intervals, by)
                assert all(series.total == sum(series.facts) for series in counts.series)
                assert [series.total for series in counts.series] == sorted(
                    (series.total for series in counts.series), reverse=True
                )
                assert counts.rest is None
    finally:
        await connection.close()


async def test_the_series_with_fewest_facts_are_together(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        facts = some_facts(1, 300)
        await insert(connection, facts)
        await fold_all(connection, 1000)
        intervals = Intervals(BEGIN, BEGIN + timedelta(minutes=MINUTES), 600)
        whole = await read_activity(connection, EVERY_NAMESPACE, intervals, by="type")
        cut = await read_activity(connection, EVERY_NAMESPACE, intervals, by="type", series_max=3)
        assert cut.series == whole.series[:3]
        assert cut.rest is not None
        others = [series.facts for series in whole.series[3:]]
        assert cut.rest.facts == [sum(values) for values in zip(*others, strict=True)]
        assert cut.rest.total == sum(series.total for series in whole.series[3:])
    finally:
        await connection.close()


async def test_too_many_counts_are_refused_rather_than_added_up(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        facts = some_facts(2, 200)
        await insert(connection, facts)
        await fold_all(connection, 1000)
        rows = await connection.fetchval("select count(*) from factwire.activity")
        intervals = Intervals(BEGIN, BEGIN + timedelta(minutes=MINUTES), 60)
        await read_activity(connection, EVERY_NAMESPACE, intervals, rows_max=rows)
        with pytest.raises(LimitExceeded, match="too many counts"):
            await read_activity(connection, EVERY_NAMESPACE, intervals, rows_max=rows - 1)
        own = await read_activity(connection, new_namespace_set(["b"]), intervals, rows_max=rows - 1)
        assert own.series[0].total == sum(namespace == "b" for _, namespace, _ in facts)
    finally:
        await connection.close()


async def test_facts_that_were_counted_before_there_was_activity_are_added(database_url: str) -> None:
    """And the counts of types and namespaces have each fact once."""
    connection = await asyncpg.connect(database_url)
    try:
        facts = some_facts(3, 250)
        await insert(connection, facts[:200])
        await fold_all(connection, 1000)
        counts = await connection.fetch("select * from factwire.type_counts order by 1, 2, 3")
        await connection.execute("truncate factwire.activity")
        await connection.execute("update factwire.counted set activity_through = 0")
        intervals = Intervals(BEGIN, BEGIN + timedelta(minutes=MINUTES), 60)
        nothing = await read_activity(connection, EVERY_NAMESPACE, intervals)
        assert (nothing.series, nothing.counted_until) == ([], facts[0][0].replace(microsecond=0))
        assert await fold_counts(connection, facts_max=150) == 150
        partly = await read_activity(connection, EVERY_NAMESPACE, intervals)
        assert partly.series[0].total == 150
        assert partly.counted_until == facts[150][0].replace(microsecond=0)
        assert await connection.fetch("select * from factwire.type_counts order by 1, 2, 3") == counts

        await insert(connection, facts[200:])
        await fold_all(connection, 1000)
        whole = await read_activity(connection, EVERY_NAMESPACE, intervals, by="type")
        assert {(each.namespace, each.type): each.facts for each in whole.series} == expected(
            facts, EVERY_NAMESPACE, intervals, "type"
        )
        by_type = await connection.fetch("select namespace, type, facts from factwire.type_counts")
        assert {(row["namespace"], row["type"]): row["facts"] for row in by_type} == Counter(
            (namespace, type) for _, namespace, type in facts
        )
    finally:
        await connection.close()


async def test_appended_facts_are_counted_in_this_minute(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        begin = datetime.now(UTC).replace(second=0, microsecond=0)
        await append_alone(connection, a_fact(namespace="a"), a_fact(namespace="b"))
        await fold_all(connection, 1000)
        intervals = Intervals(begin, begin + timedelta(minutes=2), 60)
        counts = await read_activity(connection, new_namespace_set(["a"]), intervals, by="namespace")
        assert [(each.namespace, each.total) for each in counts.series] == [("a", 1)]
        assert counts.counted_until >= begin
    finally:
        await connection.close()


async def test_the_time_up_to_which_all_is_counted_never_goes_back(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        times = []
        for _ in range(3):
            times.append(await connection.fetchval("select factwire.counted_until()"))
            await append_alone(connection, a_fact())
            await asyncio.sleep(1.1)
            await append_alone(connection, a_fact())
            times.append(await connection.fetchval("select factwire.counted_until()"))  # they are not counted yet
            await fold_all(connection, 1)
        assert times == sorted(times)
        published_at = await connection.fetchval("select min(published_at) from factwire.facts")
        assert times[1] <= published_at
    finally:
        await connection.close()


async def test_an_append_that_is_under_way_is_not_passed_by(database_url: str) -> None:
    """It has its time already, and becomes visible later: no time after its own may be told."""
    reading, publishing = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    try:
        await append_alone(publishing, a_fact())
        await fold_all(reading, 1000)
        transaction = publishing.transaction()
        await transaction.start()
        await append_alone(publishing, a_fact())
        published_at = await publishing.fetchval("select max(published_at) from factwire.facts")
        await asyncio.sleep(1.1)
        told = await reading.fetchval("select factwire.counted_until()")
        await transaction.commit()
        assert told <= published_at
        await fold_all(reading, 1000)
        await asyncio.sleep(1)
        assert await reading.fetchval("select factwire.counted_until()") > published_at
    finally:
        await reading.close()
        await publishing.close()
