"""Take orders and know which were shipped: python order_service.py http://127.0.0.1:8000 orders.db 8001

PUT /orders/<id> with {"item": …} places an order, as often as it is repeated; GET /orders tells what became of all.
"""

import json
import os
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import NAMESPACE_URL, uuid5

import httpx

HEADERS = {"authorization": f"Bearer {os.environ['KEY']}"} if "KEY" in os.environ else {}
QUERY = {"namespace": ["orders", "shipping"], "type": ["OrderPlaced", "OrderShipped"]}
TABLES = """create table if not exists orders (id text primary key, item text not null, shipments integer not null);
create table if not exists progress (cursor text not null);
insert into progress select 'start' where not exists (select 1 from progress);"""
PLACED = "insert into orders values (?, ?, 0)"
SHIPPED = "update orders set shipments = shipments + 1 where id = ?"


class Orders(BaseHTTPRequestHandler):
    factwire = path_of_state = ""

    def do_PUT(self) -> None:
        order = self.path.removeprefix("/orders/")
        item = json.loads(self.rfile.read(int(self.headers["content-length"])))["item"]
        fact = {"namespace": "orders", "type": "OrderPlaced", "aggregate_ids": [order], "payload": {"item": item}}
        fact["id"] = str(uuid5(NAMESPACE_URL, f"orders/{order}"))  # the same whenever the order is repeated
        try:
            answer = httpx.post(f"{self.factwire}/v1/facts", json={"facts": [fact]}, headers=HEADERS, timeout=10)
            self.tell(answer.status_code, answer.json())
        except httpx.TransportError:
            self.tell(503, {"title": "It may or may not have been placed: repeat it."})

    def do_GET(self) -> None:
        with closing(sqlite3.connect(self.path_of_state)) as state:
            self.tell(200, dict(state.execute("select id, shipments from orders")))

    def tell(self, status: int, what: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(what).encode())


def keep(state: sqlite3.Connection, event: dict[str, str]) -> None:
    if "id" not in event or event.get("event") == "problem":
        return
    if "event" not in event:  # a fact; `caught-up` and `position` move the cursor only
        fact = json.loads(event["data"])
        (order,) = fact["aggregate_ids"]
        if fact["type"] == "OrderPlaced":
            state.execute(PLACED, (order, fact["payload"]["item"]))
        else:
            state.execute(SHIPPED, (order,))
    state.execute("update progress set cursor = ?", (event["id"],))


def arriving(chunks: Iterator[bytes]) -> Iterator[list[dict[str, str]]]:
    rest = b""
    for chunk in chunks:
        *events, rest = (rest + chunk).split(b"\n\n")
        yield [dict(line.split(": ", 1) for line in event.decode().split("\n") if ": " in line) for event in events]


def follow(url: str, state: sqlite3.Connection) -> None:
    while True:
        (cursor,) = state.execute("select cursor from progress").fetchone()
        timeout, query = httpx.Timeout(10, read=45), QUERY | {"after": cursor}
        with (
            suppress(httpx.TransportError),
            httpx.stream("GET", f"{url}/v1/stream", params=query, headers=HEADERS, timeout=timeout) as answer,
        ):
            if answer.is_client_error and answer.status_code not in (408, 429):
                sys.exit(answer.read().decode())  # a problem: going on would be wrong
            for events in arriving(answer.iter_bytes()) if answer.is_success else ():
                with state:  # one transaction: the state and its cursor, both or neither
                    for event in events:
                        keep(state, event)
        time.sleep(random.uniform(1, 2))


def main(url: str, path: str, port: str) -> None:
    state = sqlite3.connect(path)
    state.executescript(TABLES)
    Orders.factwire, Orders.path_of_state = url, path
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Orders)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    follow(url, state)


if __name__ == "__main__":
    main(*sys.argv[1:])
