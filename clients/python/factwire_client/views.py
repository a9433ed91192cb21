"""Views that have one kind of program only: SQLite and files without tasks, asyncpg with them."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any, AsyncIterator, Iterator, Mapping

from ._async.views import ENDED, LOCKED, MOVE, OPEN, READ, START, TABLE, only_value
from .errors import TakenOver, TransactionLost


class SqliteView:
    """A view in SQLite. `apply` gets the connection. The cursor is kept in the table factwire_cursors, under a name."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._cursor = ""

    def cursor(self) -> str:
        was_open = self._connection.in_transaction
        self._connection.execute(TABLE)
        self._connection.execute(START.format("?"), (self._name,))
        self._cursor = self._read()
        if not was_open:
            self._end("commit")
        return self._cursor

    @contextmanager
    def moved(self, cursor: str) -> Iterator[sqlite3.Connection]:
        if not self._connection.in_transaction:
            self._connection.execute("begin immediate")
        try:
            if self._read() != self._cursor:
                raise TakenOver(f"the cursor of {self._name} is no longer {self._cursor}")
            yield self._connection
            if not self._connection.in_transaction:
                raise TransactionLost(ENDED)
            self._connection.execute(MOVE.format("?", "?"), (cursor, self._name))
            self._end("commit")
        except BaseException:
            self._end("rollback")
            raise
        self._cursor = cursor

    def _read(self) -> str:
        return only_value(self._connection.execute(READ.format("?"), (self._name,)).fetchone())

    def _end(self, how: str) -> None:
        """Commit or roll back: by a statement if the connection has autocommit, since its methods then do nothing."""
        if not self._connection.in_transaction:
            return
        if getattr(self._connection, "autocommit", None) is False:  # Python 3.12: another transaction begins at once
            getattr(self._connection, how)()
        else:
            self._connection.execute(how)


class FileView:
    """A view in a JSON file: `apply` gets the dict of its state. The file is replaced as a whole, for small states.

    `initial` is the state before the first fact. Where there is no `flock` (Windows), only one process may use a file.
    """

    def __init__(self, path: str | Path, initial: Mapping[str, Any] | None = None) -> None:
        self._path = Path(path)
        self._cursor = ""
        self._initial = dict(initial or {})
        self._state: dict[str, Any] = {}

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._load()["state"]
        return state

    def cursor(self) -> str:
        content = self._load()
        self._cursor, self._state = content["cursor"], content["state"]
        return self._cursor

    @contextmanager
    def moved(self, cursor: str) -> Iterator[dict[str, Any]]:
        state = json.loads(json.dumps(self._state))  # a failed transaction leaves the state as it was
        yield state
        if json.loads(json.dumps(state)) != state:
            raise TypeError(
                f"the state of {self._path} would not come back as it is: JSON has lists, and texts as keys"
            )
        part = self._path.with_name(f"{self._path.name}.part")
        with part.open("a", encoding="utf-8") as file:
            lock(file)  # the file of another process, once it was renamed, has another cursor in its place
            if self._load()["cursor"] != self._cursor:
                raise TakenOver(f"the cursor of {self._path} is no longer {self._cursor}")
            file.truncate(0)
            json.dump({"cursor": cursor, "state": state}, file)
            file.flush()
            os.fsync(file.fileno())
            os.replace(part, self._path)
        self._cursor, self._state = cursor, state

    def _load(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"cursor": "start", "state": dict(self._initial)}
        except ValueError as error:
            raise ValueError(f"{self._path} is not the file of a view: {error}") from None
        return content


def lock(file: IO[str]) -> None:
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(file, fcntl.LOCK_EX)


class AsyncpgView:
    """A view in PostgreSQL, on a connection of asyncpg. `apply` gets the connection."""

    def __init__(self, connection: Any, name: str) -> None:
        self._connection = connection
        self._name = name
        self._cursor = ""

    async def cursor(self) -> str:
        self._check(is_open=False, otherwise=OPEN)
        async with self._connection.transaction():
            await self._connection.execute(TABLE)
            await self._connection.execute(START.format("$1"), self._name)
            self._cursor = await self._connection.fetchval(READ.format("$1"), self._name)
        return self._cursor

    @asynccontextmanager
    async def moved(self, cursor: str) -> AsyncIterator[Any]:
        self._check(is_open=False, otherwise=OPEN)
        async with self._connection.transaction():
            if await self._connection.fetchval(LOCKED.format("$1"), self._name) != self._cursor:
                raise TakenOver(f"the cursor of {self._name} is no longer {self._cursor}")
            yield self._connection
            self._check(is_open=True, otherwise=ENDED)
            await self._connection.execute(MOVE.format("$1", "$2"), cursor, self._name)
        self._cursor = cursor

    def _check(self, *, is_open: bool, otherwise: str) -> None:
        if self._connection.is_in_transaction() != is_open:
            raise TransactionLost(otherwise)
