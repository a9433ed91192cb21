"""Follow a log into a view in SQLite: python follow.py 'http://127.0.0.1:8000/v1/stream?namespace=shop' view.db"""

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
TIMEOUT = httpx.Timeout(10, read=45)  # three heartbeats that did not come: the connection is dead
TABLES = """create table if not exists totals (type text primary key, facts integer not null);
create table if not exists progress (cursor text not null);
insert into progress select 'start' where not exists (select 1 from progress);"""
COUNT = "insert into totals values (?, 1) on conflict do update set facts = facts + 1"


def keep(view: sqlite3.Connection, event: dict[str, str]) -> None:
    if event.get("event") == "problem":  # the stream ends; if going on is wrong, the next answer says so
        print(event["data"], file=sys.stderr)
    elif "id" in event:
        if "event" not in event:  # a fact; `caught-up` and `position` move the cursor only
            view.execute(COUNT, (json.loads(event["data"])["type"],))
        view.execute("update progress set cursor = ?", (event["id"],))


def arriving(chunks: Iterator[bytes]) -> Iterator[list[dict[str, str]]]:
    rest = b""
    for chunk in chunks:
        *events, rest = (rest + chunk).split(b"\n\n")
        yield [dict(line.split(": ", 1) for line in event.decode().split("\n") if ": " in line) for event in events]
    if rest.startswith(b"retry: "):  # all that there is when the service is busy
        yield [{"retry": rest[7:].split(b"\n")[0].decode()}]


def follow(url: str, path: str) -> None:
    view, retry_ms = sqlite3.connect(path), 2000.0
    view.executescript(TABLES)
    while True:
        (cursor,) = view.execute("select cursor from progress").fetchone()
        behind = httpx.URL(url).copy_set_param("after", cursor)
        with suppress(httpx.TransportError), httpx.stream("GET", behind, headers=HEADERS, timeout=TIMEOUT) as answer:
            if answer.is_client_error and answer.status_code not in (408, 429):
                sys.exit(answer.read().decode())  # a problem: going on would be wrong
            for events in arriving(answer.iter_bytes()) if answer.is_success else ():
                with view:  # one transaction: the view and its cursor, both or neither
                    for event in events:
                        keep(view, event)
                        retry_ms = float(event.get("retry", retry_ms))
        time.sleep(retry_ms / 1000 * random.uniform(1, 2))


if __name__ == "__main__":
    follow(*sys.argv[1:])
