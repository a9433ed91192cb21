"""Project orders into SQLite: python project_sqlite.py http://127.0.0.1:8000 view.db [--rebuild]

Readers ask `orders_per_day`. A rebuild has rows of its own, which take the place of the others once it has caught up.
"""

import json
import os
import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx

HEADERS = {"authorization": f"Bearer {os.environ['KEY']}"} if "KEY" in os.environ else {}
QUERY = {"namespace": "shop", "type": "OrderPlaced"}
TABLES = """pragma journal_mode = wal;
create table if not exists builds (number integer primary key autoincrement, cursor text, shown integer);
create table if not exists totals (build integer, customer text, day text, orders integer, cents integer,
  primary key (build, customer, day));
create view if not exists orders_per_day as select customer, day, orders, cents from totals
  where build = (select number from builds where shown);"""
SHOWN = "select number, cursor from builds where shown"
NEW = "insert into builds (cursor, shown) values ('start', ?)"
MOVE = "update builds set cursor = ? where number = ? and cursor = ?"
ADD = """insert into totals values (?, ?, ?, 1, ?)
  on conflict do update set orders = orders + 1, cents = cents + excluded.cents"""
SHOW = "update builds set shown = 1 where number = ? and not shown"
HIDE_OTHERS = "update builds set shown = 0 where number <> ?"
DROP_HIDDEN = (
    "delete from totals where build in (select number from builds where not shown)",
    "delete from builds where not shown",
)


def drop_hidden(view: sqlite3.Connection) -> None:
    for statement in DROP_HIDDEN:
        view.execute(statement)


def choose(view: sqlite3.Connection, rebuild: bool) -> tuple[int, str]:
    """The build to go on with, and its cursor: the one that is shown, or a new one."""
    with view:
        if rebuild:
            drop_hidden(view)  # what a rebuild left that did not get far
        elif found := view.execute(SHOWN).fetchone():
            return found[0], found[1]
        return view.execute(NEW, (not rebuild,)).lastrowid or 0, "start"


def keep(view: sqlite3.Connection, build: int, cursor: str, events: list[dict[str, str]]) -> str:
    """Move the cursor, which must stand where this program has left it, and add what arrived."""
    if not view.execute(MOVE, (events[-1]["id"], build, cursor)).rowcount:
        sys.exit("another projector has taken over")
    for event in events:
        if "event" not in event:
            fact = json.loads(event["data"])
            if order := fact["payload"]:  # null once it was erased
                view.execute(ADD, (build, order["customer"], fact["published_at"][:10], order["cents"]))
        elif event["event"] == "caught-up" and view.execute(SHOW, (build,)).rowcount:
            view.execute(HIDE_OTHERS, (build,))
            drop_hidden(view)
    return events[-1]["id"]


def arriving(chunks: Iterator[bytes]) -> Iterator[list[dict[str, str]]]:
    rest = b""
    for chunk in chunks:
        *events, rest = (rest + chunk).split(b"\n\n")
        found = [dict(line.split(": ", 1) for line in event.decode().split("\n") if ": " in line) for event in events]
        if moving := [event for event in found if "id" in event and event.get("event") != "problem"]:
            yield moving


def project(url: str, path: str, *options: str) -> None:
    view = sqlite3.connect(path)
    view.executescript(TABLES)
    build, cursor = choose(view, "--rebuild" in options)
    while True:
        query, timeout = QUERY | {"after": cursor}, httpx.Timeout(10, read=45)  # three heartbeats
        with (
            suppress(httpx.TransportError),
            httpx.stream("GET", f"{url}/v1/stream", params=query, headers=HEADERS, timeout=timeout) as answer,
        ):
            if answer.is_client_error and answer.status_code not in (408, 429):
                sys.exit(answer.read().decode())  # a problem: going on would be wrong
            for events in arriving(answer.iter_bytes()) if answer.is_success else ():
                with view:  # one transaction: the view and its cursor, both or neither
                    cursor = keep(view, build, cursor, events)
        time.sleep(random.uniform(1, 2))


if __name__ == "__main__":
    project(*sys.argv[1:])
