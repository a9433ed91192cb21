"""`head_cursor` of a page: the head of the snapshot in which the page was read, whatever is published meanwhile."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from factwire.domain.position import START, Cursor, Position
from factwire.domain.query import EVERYTHING
from factwire.follow import pages
from factwire.follow.pages import PageRequest, find_page
from factwire.store.read import HistoryPage, read_page
from tests.integration.logs import connected
from tests.integration.store import a_fact, append_alone
from tests.integration.streams import process
from tests.support.waiting import until

Read = Callable[..., Awaitable[HistoryPage]]


def request(*, descending: bool) -> PageRequest:
    return PageRequest(EVERYTHING, Cursor(0, START), None, descending, facts_max=10)


@pytest.mark.parametrize("descending", [False, True])
async def test_facts_that_are_published_before_the_answer_are_not_in_the_cursor(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch, descending: bool
) -> None:
    """A head from what the process shares would be the one after them."""
    read: Read = read_page
    async with process(fresh_database_url) as running, connected(fresh_database_url) as [connection]:
        await append_alone(connection, a_fact(), a_fact())

        async def read_and_be_overtaken(*arguments: Any, **options: Any) -> HistoryPage:
            page = await read(*arguments, **options)
            await append_alone(connection, a_fact())
            running.tail.hint()
            await until(lambda: running.tail.head == 3)
            return page

        monkeypatch.setattr(pages, "read_page", read_and_be_overtaken)
        found = await find_page(running.database, running.tail, request(descending=descending))
    assert (found.page.facts, found.head_cursor) == (2, Cursor(1, Position(2)))


async def test_of_a_descending_page_of_several_statements_the_first_one_counts(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second statement sees a newer head, but looks at older facts only."""
    read: Read = read_page
    async with process(fresh_database_url) as running, connected(fresh_database_url) as [connection]:
        await append_alone(connection, a_fact(), a_fact())
        statements = 0

        async def find_nothing_at_first(*arguments: Any, **options: Any) -> HistoryPage:
            nonlocal statements
            statements += 1
            page = await read(*arguments, **options)
            if statements > 1:
                return page
            await append_alone(connection, a_fact())
            return replace(page, facts=0, last=None, body=b"", through=Position(1))

        monkeypatch.setattr(pages, "read_page", find_nothing_at_first)
        found = await find_page(running.database, running.tail, request(descending=True))
    assert (statements, found.page.facts, found.head_cursor) == (2, 1, Cursor(1, Position(2)))
