"""Take orders and know which were shipped: python order_service.py http://127.0.0.1:8000 orders.db 8001

PUT /orders/<id> with {"item": …} places an order, as often as it is repeated; GET /orders tells what became of all.
"""

import json
import os
import sqlite3
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import NAMESPACE_URL, uuid5

from factwire_client import Fact, Factwire, FactwireError, Problem, Query, SqliteView

QUERY = Query(namespaces=["orders", "shipping"], types=["OrderPlaced", "OrderShipped"])
TABLE = "create table if not exists orders (id text primary key, item text not null, shipments integer not null)"
PLACED = "insert into orders values (?, ?, 0)"
SHIPPED = "update orders set shipments = shipments + 1 where id = ?"


class Orders(BaseHTTPRequestHandler):
    log: Factwire
    path_of_state = ""

    def do_PUT(self) -> None:
        order = self.path.removeprefix("/orders/")
        item = json.loads(self.rfile.read(int(self.headers["content-length"])))["item"]
        id = str(uuid5(NAMESPACE_URL, f"orders/{order}"))  # the same whenever the order is repeated
        try:
            placed = self.log.publish("orders", "OrderPlaced", {"item": item}, id=id, aggregate_ids=[order])
            self.tell(200 if placed.replayed else 201, {"position": placed.position})
        except Problem as problem:
            self.tell(problem.status, problem.members)
        except FactwireError:
            self.tell(503, {"title": "It may or may not have been placed: repeat it."})

    def do_GET(self) -> None:
        with closing(sqlite3.connect(self.path_of_state)) as state:
            self.tell(200, dict(state.execute("select id, shipments from orders")))

    def tell(self, status: int, what: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(what).encode())


def keep(state: sqlite3.Connection, fact: Fact) -> None:
    (order,) = fact.aggregate_ids
    if fact.type == "OrderPlaced":
        state.execute(PLACED, (order, fact.payload["item"]))
    else:
        state.execute(SHIPPED, (order,))


def main(url: str, path: str, port: str) -> None:
    log = Factwire(url, key=os.environ.get("KEY"), give_up_after=5)
    state = sqlite3.connect(path)
    state.execute(TABLE)
    Orders.log, Orders.path_of_state = log, path
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Orders)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        log.project(SqliteView(state, "orders"), QUERY, keep)  # the state and its cursor in one transaction
    except Problem as problem:
        sys.exit(problem.text)  # going on would be wrong


if __name__ == "__main__":
    main(*sys.argv[1:])
