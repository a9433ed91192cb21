"""Project orders into PostgreSQL: python project_postgres.py http://127.0.0.1:8000 postgresql:///views [--rebuild]

Readers ask `orders.per_day`. A rebuild has a schema of its own, which takes the other's place once it has caught up.
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import date
from uuid import UUID

import asyncpg
import httpx

HEADERS = {"authorization": f"Bearer {os.environ['KEY']}"} if "KEY" in os.environ else {}
QUERY = {"namespace": "shop", "type": "OrderPlaced"}
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


async def keep(view: asyncpg.Connection, cursor: str, build: UUID, events: list[dict[str, str]]) -> str:
    """Move the cursor, which must stand where this program has left it, and add what arrived."""
    if not await view.fetchval(MOVE, events[-1]["id"], cursor, build):
        sys.exit("another projector has taken over")
    facts = [json.loads(event["data"]) for event in events if "event" not in event]
    orders = [(fact["payload"], date.fromisoformat(fact["published_at"][:10])) for fact in facts]
    await view.executemany(ADD, [(order["customer"], day, order["cents"]) for order, day in orders if order])
    return events[-1]["id"]


async def arriving(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[dict[str, str]]]:
    rest = b""
    async for chunk in chunks:
        *events, rest = (rest + chunk).split(b"\n\n")
        found = [dict(line.split(": ", 1) for line in event.decode().split("\n") if ": " in line) for event in events]
        if moving := [event for event in found if "id" in event and event.get("event") != "problem"]:
            yield moving


async def follow(client: httpx.AsyncClient, cursor: str) -> AsyncIterator[list[dict[str, str]]]:
    async with client.stream("GET", "/v1/stream", params=QUERY | {"after": cursor}) as answer:
        if answer.is_client_error and answer.status_code not in (408, 429):
            sys.exit((await answer.aread()).decode())  # a problem: going on would be wrong
        if answer.is_success:
            async for events in arriving(answer.aiter_bytes()):
                yield events


async def project(url: str, database_url: str, *options: str) -> None:
    view, hidden = await asyncpg.connect(database_url), "--rebuild" in options
    await view.execute((BEGIN_REBUILD if hidden else BEGIN) + TABLES)
    [(cursor, build)] = await view.fetch("select cursor, build from progress")
    timeout = httpx.Timeout(10, read=45)  # three heartbeats that did not come: the connection is dead
    async with httpx.AsyncClient(base_url=url, headers=HEADERS, timeout=timeout) as client:
        while True:
            with suppress(httpx.TransportError):
                async for events in follow(client, cursor):
                    async with view.transaction():  # the view and its cursor, both or neither
                        cursor = await keep(view, cursor, build, events)
                    if hidden and any(event.get("event") == "caught-up" for event in events):
                        hidden = False
                        await view.execute(SHOW)  # one transaction as well
                        await view.execute(DROP)  # apart, since it waits for readers, and others would wait behind it
            await asyncio.sleep(random.uniform(1, 2))


if __name__ == "__main__":
    asyncio.run(project(*sys.argv[1:]))
