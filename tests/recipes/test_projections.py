"""docs/recipes/project_sqlite.py and project_postgres.py: the view is what all facts add up to, and never empty."""

import asyncio
import sqlite3
from abc import abstractmethod
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import asyncpg
import pytest

from tests.conftest import StartService
from tests.recipes.cutting import relaying
from tests.recipes.programs import UNTIL_SECONDS, import_facts, publish, published, python, run, running
from tests.support.builders import Fact, new_fact
from tests.support.postgres import Databases
from tests.support.waiting import until

FACTS = 10_000
KILLS = 4
ROOM = 300_000  # bytes, of some 330 a fact

Rows = dict[tuple[str, str], tuple[int, int]]


class Projector(Protocol):
    """How one of them is started, and what its readers see: the cursor, and orders and cents by customer and day."""

    log_path: Path

    @abstractmethod
    def command(self, url: str, *options: str) -> list[str]: ...

    @abstractmethod
    async def look(self) -> tuple[str, Rows]: ...

    @abstractmethod
    async def spoil(self) -> None:
        """Make the view wrong, as a program with a mistake would have."""

    async def seen(self) -> Rows:
        return (await self.look())[1]

    async def orders(self) -> int:
        return sum(orders for orders, _ in (await self.look())[1].values())

    async def stands_at(self, position: int) -> bool:
        return (await self.look())[0] == f"1:{position}"


@dataclass
class IntoSqlite(Projector):
    path: Path
    log_path: Path

    def command(self, url: str, *options: str) -> list[str]:
        return python("recipes/project_sqlite.py", url, self.path, *options)

    async def look(self) -> tuple[str, Rows]:
        try:
            with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as view:
                view.execute("begin")  # both as they were at one moment
                found = view.execute("select cursor from builds where shown").fetchone()
                rows = view.execute("select customer, day, orders, cents from orders_per_day").fetchall()
        except sqlite3.OperationalError:
            return "", {}  # not there yet
        return found[0] if found else "", {(row[0], row[1]): (row[2], row[3]) for row in rows}

    async def spoil(self) -> None:
        with closing(sqlite3.connect(self.path)) as view, view:
            view.execute("update totals set cents = cents + 1")


@dataclass
class IntoPostgres(Projector):
    database_url: str
    reader: asyncpg.Connection
    log_path: Path

    def command(self, url: str, *options: str) -> list[str]:
        return python("recipes/project_postgres.py", url, self.database_url, *options)

    async def look(self) -> tuple[str, Rows]:
        try:
            async with self.reader.transaction(isolation="repeatable_read", readonly=True):
                return await self.reader.fetchval("select cursor from orders.progress"), await self.seen()
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            return "", {}  # not there yet

    async def seen(self) -> Rows:
        rows = await self.reader.fetch("select customer, day::text, orders, cents from orders.per_day")
        return {(row[0], row[1]): (row[2], row[3]) for row in rows}

    async def spoil(self) -> None:
        await self.reader.execute("update orders.per_day set cents = cents + 1")


@pytest.fixture
async def into_sqlite(tmp_path: Path) -> IntoSqlite:
    return IntoSqlite(tmp_path / "view.db", tmp_path / "sqlite.log")


@pytest.fixture
async def into_postgres(databases: Databases, tmp_path: Path) -> AsyncIterator[IntoPostgres]:
    url = await asyncio.to_thread(databases.create)
    reader = await asyncpg.connect(url)
    yield IntoPostgres(url, reader, tmp_path / "postgres.log")
    await reader.close()
    await asyncio.to_thread(databases.drop, url)


@pytest.fixture(params=["sqlite", "postgres"])
def projector(request: pytest.FixtureRequest) -> Projector:
    found: Projector = request.getfixturevalue(f"into_{request.param}")
    return found


def order(number: int) -> Fact:
    return new_fact(payload={"customer": f"customer-{number % 7}", "cents": number})


async def expected(url: str) -> Rows:
    orders, cents = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for fact in await published(url, "shop"):
        key = (fact["payload"]["customer"], fact["published_at"][:10])
        orders[key] += 1
        cents[key] += fact["payload"]["cents"]
    return {key: (orders[key], cents[key]) for key in orders}


async def test_history_and_live_orders_are_in_the_view(start_service: StartService, projector: Projector) -> None:
    url = (await start_service()).url
    await publish(url, *map(order, range(20)), new_fact(type="OrderPaid"), new_fact(namespace="elsewhere"))
    async with running(projector.command(url), log_path=projector.log_path):
        await until(lambda: projector.stands_at(22))
        assert await projector.orders() == 20
        await publish(url, order(20))
        await until(lambda: projector.stands_at(23))
    assert await projector.orders() == 21


async def test_killed_in_the_middle_it_goes_on_without_loss_or_double(
    start_service: StartService, projector: Projector
) -> None:
    service = await start_service()
    await import_facts(service.url, map(order, range(FACTS)))
    async with relaying(service.port) as (relay, url):
        relay.room, relay.stalls = ROOM, True
        for _ in range(KILLS):
            await kill_after(await projector.orders(), projector, url)
            assert await projector.stands_at(await projector.orders())
    assert await projector.orders() < FACTS
    async with running(projector.command(service.url), log_path=projector.log_path):
        await until(lambda: projector.stands_at(FACTS))
    assert await projector.seen() == await expected(service.url)


async def kill_after(orders: int, projector: Projector, url: str) -> None:
    async def got_on() -> bool:
        return await projector.orders() > orders

    async with running(projector.command(url), log_path=projector.log_path) as program:
        await until(got_on)
        await program.kill()


async def test_readers_see_the_old_view_until_the_rebuild_has_caught_up(
    start_service: StartService, projector: Projector, tmp_path: Path
) -> None:
    service = await start_service()
    await import_facts(service.url, map(order, range(FACTS)))
    async with running(projector.command(service.url), log_path=projector.log_path) as old:
        await until(lambda: projector.stands_at(FACTS))
        await projector.spoil()

        async with relaying(service.port) as (relay, url):
            relay.room, relay.stalls = ROOM, True
            async with running(projector.command(url, "--rebuild"), log_path=tmp_path / "rebuild.log") as rebuild:
                await until(lambda: relay.requests >= 1)
                await publish(service.url, order(0))
                await until(lambda: projector.stands_at(FACTS + 1))  # the old one goes on meanwhile
                await rebuild.kill()
        wrong, right = await projector.seen(), await expected(service.url)
        assert wrong == {key: (right[key][0], cents + 1) for key, (_, cents) in right.items()}

        async with running(projector.command(service.url, "--rebuild"), log_path=tmp_path / "rebuild.log"):
            await read_until(right, projector, before=wrong)
            await publish(service.url, order(1))
            await until(lambda: projector.stands_at(FACTS + 2))
            assert await old.ended() == 1  # whichever of them sees the order first
            assert "another projector has taken over" in old.said
    assert await projector.seen() == await expected(service.url)


async def read_until(right: Rows, projector: Projector, *, before: Rows) -> None:
    """Look without a pause, since nothing else may be seen, however short."""
    async with asyncio.timeout(UNTIL_SECONDS):
        while (seen := await projector.seen()) != right:
            assert seen == before
            await asyncio.sleep(0)


PAUSE = """
create function pause() returns event_trigger language plpgsql as $$ begin
  if to_regnamespace('orders_old') is not null then perform pg_advisory_xact_lock_shared(1); end if;
end $$;
create event trigger pause on ddl_command_start when tag in ('ALTER SCHEMA') execute function pause();
select pg_advisory_lock(1)
"""
PAUSED = "select exists (select from pg_locks where locktype = 'advisory' and objid = 1 and not granted)"


async def test_readers_in_the_middle_of_the_exchange_see_the_old_view(
    start_service: StartService, into_postgres: IntoPostgres
) -> None:
    """The old schema has lost its name by then, and the new one has not got it."""
    url = (await start_service()).url
    await publish(url, *map(order, range(20)))
    async with running(into_postgres.command(url), log_path=into_postgres.log_path) as program:
        await until(lambda: into_postgres.stands_at(20))
        await program.kill()
    await into_postgres.spoil()
    wrong = await into_postgres.seen()
    await into_postgres.reader.execute(PAUSE)
    async with running(into_postgres.command(url, "--rebuild"), log_path=into_postgres.log_path):
        await until(lambda: into_postgres.reader.fetchval(PAUSED))
        assert await into_postgres.seen() == wrong
        await into_postgres.reader.execute("select pg_advisory_unlock(1)")
        await read_until(await expected(url), into_postgres, before=wrong)


async def test_of_two_that_project_at_once_one_is_left(
    start_service: StartService, projector: Projector, tmp_path: Path
) -> None:
    service = await start_service()
    await publish(service.url, order(1))
    async with (
        running(projector.command(service.url), log_path=projector.log_path) as first,
        relaying(service.port) as (relay, url),
    ):
        await until(lambda: projector.stands_at(1))
        async with running(projector.command(url), log_path=tmp_path / "second.log") as second:
            await until(lambda: relay.requests >= 1)  # it has read the cursor
            await publish(service.url, order(2))
            await until(lambda: first.process.poll() is not None or second.process.poll() is not None)
            assert "another projector has taken over" in first.said + second.said
            await publish(service.url, order(3))
            await until(lambda: projector.stands_at(3))
    assert await projector.seen() == await expected(service.url)


async def test_both_give_the_same_numbers(
    start_service: StartService, into_sqlite: IntoSqlite, into_postgres: IntoPostgres
) -> None:
    url = (await start_service()).url
    await import_facts(url, map(order, range(1000)))
    async with (
        running(into_sqlite.command(url), log_path=into_sqlite.log_path),
        running(into_postgres.command(url), log_path=into_postgres.log_path),
    ):
        await until(lambda: into_sqlite.stands_at(1000))
        await until(lambda: into_postgres.stands_at(1000))
    assert await into_sqlite.look() == await into_postgres.look()


async def test_a_problem_that_would_come_back_ends_it(start_service: StartService, projector: Projector) -> None:
    url = (await start_service(auth="keys")).url
    code, said = await run(projector.command(url))
    assert code == 1
    assert "urn:factwire:problem:unauthenticated" in said
