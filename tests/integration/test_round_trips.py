"""Round trips: a page whose bounds are positions takes one statement, and a wrong bound is still found."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from factwire.domain.errors import CursorAhead, CursorExpired, CursorForked, FactwireError
from factwire.domain.position import START, Bound, Cursor, Position
from factwire.domain.query import EVERYTHING
from factwire.follow.pages import PageRequest, find_page
from factwire.store.connection import Connection
from tests.integration.logs import connected
from tests.integration.store import a_fact, append_alone
from tests.integration.streams import process
from tests.support.waiting import until

REQUEST = PageRequest(EVERYTHING, "start", None, False, facts_max=2)
FACTS = 5

ARCHIVED = """
begin;
set local session_replication_role = replica;
delete from factwire.facts where position <= 3;
delete from factwire.fact_tags where position <= 3;
update factwire.log set floor = 3;
commit
"""


def at(position: int, epoch: int = 1) -> Cursor:
    return Cursor(epoch, Position(position))


async def statements_of(running: Any, request: PageRequest) -> int:
    """Number of statements of a page, counted at the connections of the pool."""
    count = 0

    def note(query: object) -> None:
        nonlocal count
        count += 1

    await find_page(running.database, running.tail, request)  # a new connection asks for types once
    borrow = running.database.reads.take

    async def take() -> Any:
        connection = await borrow()
        connection.add_query_logger(note)
        return connection

    running.database.reads.take = take
    try:
        await find_page(running.database, running.tail, request)
    finally:
        running.database.reads.take = borrow
    return count


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("after", "until"), [("start", None), (at(2), None), (at(2, epoch=0), at(4)), (at(FACTS), None)]
)
async def test_a_page_between_positions_is_one_statement(
    fresh_database_url: str, after: Bound, until: Bound | None, descending: bool
) -> None:
    async with process(fresh_database_url) as running, connected(fresh_database_url) as [connection]:
        await append_alone(connection, *(a_fact() for _ in range(FACTS)))
        request = replace(REQUEST, after=after, until=until, descending=descending)
        assert await statements_of(running, request) == 1


async def test_a_bound_without_a_position_is_resolved_first(fresh_database_url: str) -> None:
    async with process(fresh_database_url) as running, connected(fresh_database_url) as [connection]:
        facts = [a_fact() for _ in range(FACTS)]
        await append_alone(connection, *facts)
        assert await statements_of(running, replace(REQUEST, after=UUID(facts[1].id))) > 1


@pytest.mark.parametrize(
    ("after", "until", "refusal"),
    [
        (at(FACTS + 1), None, CursorAhead),
        (at(1), at(FACTS + 1), CursorAhead),
        (at(1, epoch=9), None, CursorForked),
        (at(1), at(2, epoch=9), CursorForked),
    ],
)
async def test_a_wrong_bound_is_found_on_the_page(
    fresh_database_url: str, after: Bound, until: Bound | None, refusal: type[FactwireError]
) -> None:
    async with process(fresh_database_url) as running, connected(fresh_database_url) as [connection]:
        await append_alone(connection, *(a_fact() for _ in range(FACTS)))
        with pytest.raises(refusal):
            await find_page(running.database, running.tail, replace(REQUEST, after=after, until=until))


async def test_a_cursor_of_an_older_epoch_counts_up_to_the_fork(fresh_database_url: str) -> None:
    async with process(fresh_database_url) as running, connected(fresh_database_url) as [connection]:
        await append_alone(connection, *(a_fact() for _ in range(FACTS)))
        await raise_epoch(connection, forked_after=3)
        found = await find_page(running.database, running.tail, replace(REQUEST, after=at(2)))
        assert (found.page.facts, found.page.epoch) == (2, 2)
        with pytest.raises(CursorForked):
            await find_page(running.database, running.tail, replace(REQUEST, after=at(4)))


async def test_what_is_below_the_floor_has_expired_and_the_start_is_above_it(fresh_database_url: str) -> None:
    async with process(fresh_database_url) as running, connected(fresh_database_url) as [connection]:
        for _ in range(FACTS):
            await append_alone(connection, a_fact())
        await until(lambda: running.tail.head == FACTS)  # what it has not seen would be missing
        await connection.execute(ARCHIVED)
        with pytest.raises(CursorExpired):
            await find_page(running.database, running.tail, replace(REQUEST, after=at(2)))
        assert (await find_page(running.database, running.tail, REQUEST)).page.facts == FACTS - 3
        assert await statements_of(running, replace(REQUEST, after=Cursor(1, Position(START + 3)))) == 1


async def raise_epoch(connection: Connection, *, forked_after: int) -> None:
    await connection.execute(
        "insert into factwire.epochs (epoch, forked_after) select epoch + 1, $1 from factwire.log", forked_after
    )
    await connection.execute("update factwire.log set epoch = epoch + 1")
