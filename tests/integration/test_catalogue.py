"""The catalogue counts exactly, whenever the last fold was."""

from datetime import UTC, datetime, timedelta

from app.domain.grants import EVERY_NAMESPACE
from app.store.catalogue import fold_counts, read_counts
from app.store.database import Connection
from app.store.reading import read_position
from tests.integration.store import a_fact, append_alone, opened


async def position_before(connection: Connection, time: datetime) -> int:
    state, _ = await read_position(connection, time, EVERY_NAMESPACE)
    return state.position


async def test_counts_are_exact_before_between_and_after_folds(database_url: str) -> None:
    async with opened(database_url) as database, database.appending.connection() as connection:
        for step in range(1, 8):
            await append_alone(connection, a_fact(type="A"), a_fact(type="B", version=2), a_fact(type="A"))
            counts = {(c.type, c.version): (c.facts, c.last_position) for c in await read_counts(connection)}
            assert counts == {("A", 1): (2 * step, 3 * step), ("B", 2): (step, 3 * step - 1)}
            assert await fold_counts(connection, facts_max=2) == 2
        while await fold_counts(connection, facts_max=5):
            pass
        assert [(c.type, c.facts) for c in await read_counts(connection)] == [("A", 14), ("B", 7)]
        assert [c.type for c in await read_counts(connection, namespace="shop", type="B")] == ["B"]
        assert await read_counts(connection, namespace="other") == []


async def test_the_position_before_a_time_is_that_of_the_last_fact_published_before_it(database_url: str) -> None:
    async with opened(database_url) as database, database.appending.connection() as connection:
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
