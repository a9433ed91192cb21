"""Facts and connections for tests of the lower floors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg

from factwire.domain.fact import NewFact, new_fact
from factwire.domain.limits import Limits
from factwire.domain.position import START, Position
from factwire.domain.query import EVERYTHING, Query
from factwire.store.append import append
from factwire.store.connection import Connection
from factwire.store.pools import Pools, new_pools
from factwire.store.read import Form, PageBounds, read_page


def a_fact(**changes: Any) -> NewFact:
    """A valid fact; a keyword changes one thing."""
    members: dict[str, Any] = {
        "id": str(uuid4()),
        "namespace": "shop",
        "type": "OrderPlaced",
        "version": 1,
        "aggregate_ids": [],
        "meta": {},
        "payload": b"1",
        "limits": Limits(),
    }
    return new_fact(**(members | changes))


@asynccontextmanager
async def opened(url: str, *, append_seconds: float = 20) -> AsyncIterator[Pools]:
    database = new_pools(url, read_connections_max=4, read_seconds=10, append_seconds=append_seconds)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def append_alone(connection: Connection, *facts: NewFact) -> Position:
    """Append facts as one request, and return the position of the first."""
    appended = await append(connection, [(facts, None)])
    assert not appended.refused
    return Position(appended.head + 1)


async def read_ids(connection: Connection, query: Query = EVERYTHING) -> list[str]:
    """The ids of all facts that match, in order, read page by page."""
    ids: list[str] = []
    after = START
    while True:
        page = await read_page(connection, query, after=after, form=Form.LINES, bounds=PageBounds(facts_max=100))
        ids += [line.partition(b'"id":"')[2][:36].decode() for line in page.body.splitlines()]
        after = page.through
        if after >= page.head:
            return ids


async def execute(url: str, statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()
