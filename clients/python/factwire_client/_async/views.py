"""Views that keep their cursor in the transaction of what it stands for."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any, AsyncContextManager, AsyncIterator, Protocol

from ..errors import TakenOver

TABLE = "create table if not exists factwire_cursors (name text primary key, cursor text not null)"
START = "insert into factwire_cursors (name, cursor) values ({}, 'start') on conflict do nothing"
READ = "select cursor from factwire_cursors where name = {}"
MOVE = "update factwire_cursors set cursor = {} where name = {} and cursor = {}"


class AsyncView(Protocol):
    """What `project` needs of a view."""

    async def cursor(self) -> str:
        """The cursor of the last transaction; `start` in the beginning."""

    def moved(self, cursor: str) -> AsyncContextManager[Any]:
        """A transaction that begins with moving the cursor, and what facts are applied to in it."""


class AsyncPsycopgView:
    """A view in PostgreSQL, on a connection of psycopg 3. `apply` gets the connection.

    The cursor is kept in the table factwire_cursors, under a name: a view that is built anew gets a new name.
    """

    def __init__(self, connection: Any, name: str) -> None:
        self._connection = connection
        self._name = name
        self._cursor = ""

    async def cursor(self) -> str:
        async with self._connection.transaction():
            await self._connection.execute(TABLE)
            await self._connection.execute(START.format("%s"), (self._name,))
            found = await self._connection.execute(READ.format("%s"), (self._name,))
            (self._cursor,) = await found.fetchone()
        return self._cursor

    @asynccontextmanager
    async def moved(self, cursor: str) -> AsyncIterator[Any]:
        async with self._connection.transaction():
            move = MOVE.format("%s", "%s", "%s")
            moved = await self._connection.execute(move, (cursor, self._name, self._cursor))
            if moved.rowcount != 1:
                raise TakenOver(f"the cursor of {self._name} is no longer {self._cursor}")
            yield self._connection
        self._cursor = cursor
