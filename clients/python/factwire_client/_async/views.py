"""Views that keep their cursor in the transaction of what it stands for."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any, AsyncContextManager, AsyncIterator, Protocol

from ..errors import TakenOver, TransactionLost

TABLE = "create table if not exists factwire_cursors (name text primary key, cursor text not null)"
START = "insert into factwire_cursors (name, cursor) values ({}, 'start') on conflict do nothing"
READ = "select cursor from factwire_cursors where name = {}"
LOCKED = READ + " for update"
MOVE = "update factwire_cursors set cursor = {} where name = {}"
OPEN = "the connection is in a transaction: commit it first, or open the connection with autocommit"
ENDED = "apply has ended the transaction, by a commit or a rollback of its own: leave that to project"


class AsyncView(Protocol):
    """What `project` needs of a view."""

    async def cursor(self) -> str:
        """The cursor of the last transaction; `start` in the beginning."""

    def moved(self, cursor: str) -> AsyncContextManager[Any]:
        """A transaction that moves the cursor from where this view left it. Facts are applied to what it gives."""


class AsyncPsycopgView:
    """A view in PostgreSQL, on a connection of psycopg 3. `apply` gets the connection.

    The cursor is kept in the table factwire_cursors, under a name: a view that is built anew gets a new name.
    """

    def __init__(self, connection: Any, name: str) -> None:
        self._connection = connection
        self._name = name
        self._cursor = ""

    async def cursor(self) -> str:
        self._check(is_open=False, otherwise=OPEN)
        async with self._connection.transaction():
            await self._connection.execute(TABLE)
            await self._connection.execute(START.format("%s"), (self._name,))
            self._cursor = await self._read(READ)
        return self._cursor

    @asynccontextmanager
    async def moved(self, cursor: str) -> AsyncIterator[Any]:
        self._check(is_open=False, otherwise=OPEN)
        async with self._connection.transaction():
            if await self._read(LOCKED) != self._cursor:
                raise TakenOver(f"the cursor of {self._name} is no longer {self._cursor}")
            yield self._connection
            self._check(is_open=True, otherwise=ENDED)
            await self._connection.execute(MOVE.format("%s", "%s"), (cursor, self._name))
        self._cursor = cursor

    async def _read(self, statement: str) -> str:
        found = await self._connection.execute(statement.format("%s"), (self._name,))
        return only_value(await found.fetchone())

    def _check(self, *, is_open: bool, otherwise: str) -> None:
        if (self._connection.info.transaction_status.name != "IDLE") != is_open:
            raise TransactionLost(otherwise)


def only_value(row: Any) -> str:
    """The value of a row of one column, whatever kind of rows the connection makes; empty without a row."""
    if row is None:
        return ""
    return str(next(iter(row.values())) if hasattr(row, "values") else row[0])
