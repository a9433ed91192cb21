"""Project orders into PostgreSQL: python project_postgres.py http://127.0.0.1:8000 postgresql:///views [--rebuild]

Readers ask `orders.per_day`. A rebuild has a schema of its own, which takes the other's place once it has caught up.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date

import asyncpg

from factwire_client import AsyncFactwire, Fact, Problem, Query

QUERY = Query(namespaces=["shop"], types=["OrderPlaced"])
BEGIN = "create schema if not exists orders; set search_path to orders;"
BEGIN_REBUILD = """create schema if not exists orders; drop schema if exists orders_new, orders_old cascade;
create schema orders_new; set search_path to orders_new;"""
TABLES = """
create table if not exists per_day (customer text, day date, orders bigint, cents bigint, primary key (customer, day));
create table if not exists progress (cursor text not null, build uuid not null default gen_random_uuid());
insert into progress select 'start' where not exists (select 1 from progress)"""
MOVE = "update progress set cursor = $1 where (cursor, build) = ($2, $3) returning true"
ADD = """insert into per_day values ($1, $2, 1, $3)
  on conflict (customer, day) do update set orders = per_day.orders + 1, cents = per_day.cents + excluded.cents"""
SHOW = """alter schema orders rename to orders_old; alter schema orders_new rename to orders;
set search_path to orders"""
DROP = "drop schema orders_old cascade"


class Build:
    """Tables of one build, and its cursor: a view for `project`."""

    def __init__(self, view: asyncpg.Connection) -> None:
        self.view = view

    async def cursor(self) -> str:
        [(self.at, self.id)] = await self.view.fetch("select cursor, build from progress")
        return str(self.at)

    @asynccontextmanager
    async def moved(self, cursor: str) -> AsyncIterator[asyncpg.Connection]:
        """Move the cursor, which must stand where this program has left it, and add what arrived."""
        async with self.view.transaction():  # the view and its cursor, both or neither
            if not await self.view.fetchval(MOVE, cursor, self.at, self.id):
                sys.exit("another projector has taken over")
            yield self.view
        self.at = cursor


async def add(view: asyncpg.Connection, fact: Fact) -> None:
    if order := fact.payload:  # null once it was erased
        await view.execute(ADD, order["customer"], date.fromisoformat(fact.published_at[:10]), order["cents"])


async def main(url: str, database_url: str, *options: str) -> None:
    view, rebuild = await asyncpg.connect(database_url), "--rebuild" in options
    await view.execute((BEGIN_REBUILD if rebuild else BEGIN) + TABLES)
    build = Build(view)
    async with AsyncFactwire(url, key=os.environ.get("KEY")) as log:
        try:
            if rebuild:
                await log.project(build, QUERY, add, until_caught_up=True)
                await view.execute(SHOW)  # one transaction as well
                await view.execute(DROP)  # apart, since it waits for readers, and others would wait behind it
            await log.project(build, QUERY, add)
        except Problem as problem:
            sys.exit(problem.text)  # going on would be wrong


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
