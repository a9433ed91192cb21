"""Projections: the cursor and the view in one transaction, for each kind of view."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import psycopg
import pytest
from psycopg.rows import dict_row

from factwire_client import (
    AsyncFactwire,
    AsyncpgView,
    AsyncPsycopgView,
    Fact,
    Factwire,
    FileView,
    NewFact,
    PsycopgView,
    Query,
    SqliteView,
    TakenOver,
    TransactionLost,
)
from tests.support.service import ServiceProcess

COUNT = "insert into seen values ({})"
TABLE = "create table if not exists seen (n integer)"


class Fails(Exception):
    """What an apply raises in the middle."""


@pytest.fixture
def query(service: ServiceProcess) -> Query:
    """A query for ten facts."""
    namespace = f"views-{uuid4()}"
    with Factwire(service.url) as log:
        log.publish_all([NewFact(namespace, "Counted", {"n": n}) for n in range(10)])
    return Query(namespaces=[namespace])


def failing_once(apply: Callable[[Any, Fact], None]) -> Callable[[Any, Fact], None]:
    """The same, but it fails after the fifth fact has been applied."""
    failures = [Fails()]

    def applied(target: Any, fact: Fact) -> None:
        apply(target, fact)
        if fact.payload["n"] == 5 and failures:
            raise failures.pop()

    return applied


def sqlite_view(path: Path, **options: Any) -> tuple[Any, Callable[[Any, Fact], None], Callable[[], list[int]]]:
    connection = sqlite3.connect(path, **options)
    connection.execute(TABLE)

    def apply(view: sqlite3.Connection, fact: Fact) -> None:
        view.execute(COUNT.format("?"), (fact.payload["n"],))

    def seen() -> list[int]:
        return [n for (n,) in sqlite3.connect(path).execute("select n from seen order by n")]

    return SqliteView(connection, "seen"), apply, seen


def file_view(path: Path) -> tuple[Any, Callable[[Any, Fact], None], Callable[[], list[int]]]:
    def apply(state: dict[str, Any], fact: Fact) -> None:
        state.setdefault("seen", []).append(fact.payload["n"])

    return FileView(path), apply, lambda: FileView(path).state.get("seen", [])


@contextmanager
def view_of(kind: str, path: Path, database_url: str) -> Any:
    if kind == "file":
        yield file_view(path)
    elif kind == "psycopg":
        with psycopg.connect(database_url) as connection:
            connection.execute(TABLE)
            connection.commit()

            def seen() -> list[int]:
                with psycopg.connect(database_url) as other:
                    return [n for (n,) in other.execute("select n from seen order by n")]

            def apply(view: Any, fact: Fact) -> None:
                view.execute(COUNT.format("%s"), (fact.payload["n"],))

            yield PsycopgView(connection, "seen"), apply, seen
    else:
        yield sqlite_view(path, **({"isolation_level": None} if kind == "sqlite-autocommit" else {}))


@pytest.mark.parametrize("kind", ["sqlite", "sqlite-autocommit", "file", "psycopg"])
def test_a_failed_transaction_leaves_cursor_and_view_as_they_were(
    service: ServiceProcess, query: Query, tmp_path: Path, fresh_database_url: str, kind: str
) -> None:
    with Factwire(service.url) as log, view_of(kind, tmp_path / "view", fresh_database_url) as (view, apply, seen):
        fails = failing_once(apply)
        with pytest.raises(Fails):
            log.project(view, query, fails, until_caught_up=True)
        assert seen() == []
        log.project(view, query, fails, until_caught_up=True)
        assert seen() == list(range(10))
        log.project(view, query, fails, until_caught_up=True)
        assert seen() == list(range(10))


@pytest.mark.parametrize("kind", ["sqlite", "sqlite-autocommit", "file", "psycopg"])
def test_a_second_process_ends_the_first(
    service: ServiceProcess, query: Query, tmp_path: Path, fresh_database_url: str, kind: str
) -> None:
    path = tmp_path / "view"
    with Factwire(service.url) as log, view_of(kind, path, fresh_database_url) as (view, apply, seen):
        view.cursor()
        with view_of(kind, path, fresh_database_url) as (other, _, _):
            log.project(other, query, apply, until_caught_up=True)
        with pytest.raises(TakenOver), view.moved("1:1") as target:
            apply(target, Fact(0, "", "", "", "", 1, [], {}, {"n": 99}))
        assert seen() == list(range(10))


async def overtake(stale: Any, faster: Any) -> None:
    """The cursor moves by one view, and the other one notices it."""
    await stale.cursor()
    cursor = await faster.cursor()
    async with faster.moved(f"{cursor}0"):
        pass
    with pytest.raises(TakenOver):
        async with stale.moved(f"{cursor}1"):
            raise AssertionError


@pytest.mark.parametrize("kind", ["asyncpg", "psycopg"])
async def test_the_same_with_tasks(service: ServiceProcess, query: Query, fresh_database_url: str, kind: str) -> None:
    connection: Any
    view_class: Any
    if kind == "asyncpg":
        connection, mark, view_class = await asyncpg.connect(fresh_database_url), "$1", AsyncpgView
    else:
        connection = await psycopg.AsyncConnection.connect(fresh_database_url, autocommit=True)
        mark, view_class = "%s", AsyncPsycopgView
    failures = [Fails()]

    async def apply(view: Any, fact: Fact) -> None:
        n = fact.payload["n"]
        await (view.execute(COUNT.format(mark), n) if mark == "$1" else view.execute(COUNT.format(mark), (n,)))
        if n == 5 and failures:
            raise failures.pop()

    await connection.execute(TABLE)
    async with AsyncFactwire(service.url) as log:
        view = view_class(connection, "seen")
        with pytest.raises(Fails):
            await log.project(view, query, apply, until_caught_up=True)
        await log.project(view, query, apply, until_caught_up=True)
        await log.project(view_class(connection, "seen"), query, apply, until_caught_up=True)
        await overtake(view_class(connection, "seen"), view_class(connection, "seen"))
    await connection.close()
    other = await asyncpg.connect(fresh_database_url)
    assert [row["n"] for row in await other.fetch("select n from seen order by n")] == list(range(10))
    await other.close()


def test_a_projection_goes_on_until_it_is_left(service: ServiceProcess, query: Query, tmp_path: Path) -> None:
    class Left(Exception):
        """How this program leaves."""

    async def scenario() -> None:
        async with AsyncFactwire(service.url) as log:
            view, apply, seen = sqlite_view(tmp_path / "view", check_same_thread=False)

            def until_eleven(target: Any, fact: Fact) -> None:
                if fact.payload["n"] == 11:
                    raise Left
                apply(target, fact)

            running = asyncio.create_task(asyncio.to_thread(Factwire(service.url).project, view, query, until_eleven))
            while len(seen()) < 10:
                await asyncio.sleep(0.01)
            for n in (10, 11):
                await log.publish(query.namespaces[0], "Counted", {"n": n})  # type: ignore[index]
                while n == 10 and len(seen()) < 11:
                    await asyncio.sleep(0.01)
            with pytest.raises(Left):
                await running
            assert seen() == list(range(11))

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_of_two_processes_with_one_file_one_is_left(service: ServiceProcess, query: Query, tmp_path: Path) -> None:
    """Both move the cursor at the same moment, again and again: the file has what one of them wrote."""
    path = tmp_path / "view.json"
    for round in range(20):
        views = [FileView(path) for _ in range(2)]
        for view in views:
            view.cursor()
        barrier = threading.Barrier(2)
        outcomes: list[str] = []

        def move(view: FileView, barrier: threading.Barrier, outcomes: list[str], cursor: str) -> None:
            try:
                with view.moved(cursor) as state:
                    state["n"] = state.get("n", 0) + 1
                    barrier.wait()
            except TakenOver:
                outcomes.append("taken over")
            else:
                outcomes.append("moved")

        threads = [threading.Thread(target=move, args=(view, barrier, outcomes, f"1:{round + 1}")) for view in views]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["moved", "taken over"]
    assert FileView(path).state == {"n": 20}


def test_batches_have_a_size_and_a_broken_file_is_named(service: ServiceProcess, query: Query, tmp_path: Path) -> None:
    path, kept = tmp_path / "view.json", []

    def apply(state: dict[str, Any], fact: Fact) -> None:
        kept.append(FileView(path, {"seen": 0}).state["seen"])
        state["seen"] += 1

    with Factwire(service.url) as log:
        log.project(FileView(path, {"seen": 0}), query, apply, until_caught_up=True, batch_max=1)
        assert kept == list(range(10))
        path.write_text("{")
        with pytest.raises(ValueError, match="is not the file of a view"):
            log.project(FileView(path), query, apply, until_caught_up=True)


def test_apply_that_commits_is_told_and_loses_no_fact(service: ServiceProcess, query: Query, tmp_path: Path) -> None:
    view, apply, seen = sqlite_view(tmp_path / "view")
    connection = sqlite3.connect(tmp_path / "view")

    def apply_and_commit(view: sqlite3.Connection, fact: Fact) -> None:
        with view:  # as every tutorial of sqlite3 has it
            apply(view, fact)

    with Factwire(service.url) as log:
        with pytest.raises(TransactionLost, match="apply has ended the transaction"):
            log.project(view, query, apply_and_commit, until_caught_up=True, batch_max=1)
        connection.execute("delete from seen")
        connection.commit()
        log.project(view, query, apply, until_caught_up=True)
    connection.close()
    assert seen() == list(range(10))


def test_asking_for_the_cursor_commits_nothing_of_others(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "view")
    view = SqliteView(connection, "seen")
    view.cursor()
    connection.execute("create table seen (n integer)")
    connection.execute("begin")
    connection.execute("insert into seen values (1)")
    view.cursor()
    connection.rollback()
    assert connection.execute("select * from seen").fetchall() == []
    connection.close()


def test_a_transaction_that_was_open_before_is_refused(fresh_database_url: str) -> None:
    """A transaction of the view in it would not be committed with it."""
    with psycopg.connect(fresh_database_url) as connection:
        connection.execute("select 1")
        with pytest.raises(TransactionLost, match="commit it first"):
            PsycopgView(connection, "seen").cursor()


def test_rows_of_any_kind_are_read(
    service: ServiceProcess, query: Query, tmp_path: Path, fresh_database_url: str
) -> None:
    view, apply, seen = sqlite_view(tmp_path / "view")
    view._connection.row_factory = lambda cursor, row: {
        column[0]: value for column, value in zip(cursor.description, row, strict=True)
    }
    with Factwire(service.url) as log, psycopg.connect(fresh_database_url, row_factory=dict_row) as connection:
        log.project(view, query, apply, until_caught_up=True)
        assert seen() == list(range(10))
        assert PsycopgView(connection, "seen").cursor() == "start"


def test_a_state_that_json_would_change_is_refused(service: ServiceProcess, query: Query, tmp_path: Path) -> None:
    def apply(state: dict[Any, int], fact: Fact) -> None:
        state[fact.payload["n"]] = 1

    with Factwire(service.url) as log, pytest.raises(TypeError, match="texts as keys"):
        log.project(FileView(tmp_path / "view.json"), query, apply, until_caught_up=True)
