"""Project orders into SQLite: python project_sqlite.py http://127.0.0.1:8000 view.db [--rebuild]

Readers ask `orders_per_day`. A rebuild has rows of its own, which take the place of the others once it has caught up.
"""

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from factwire_client import Fact, Factwire, Problem, Query

QUERY = Query(namespaces=["shop"], types=["OrderPlaced"])
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


class Build:
    """Rows of one build, and its cursor: a view for `project`."""

    def __init__(self, path: str, *, rebuild: bool) -> None:
        self.view = sqlite3.connect(path)
        self.view.executescript(TABLES)
        self.number, self.at = self._choose(rebuild)

    def _choose(self, rebuild: bool) -> tuple[int, str]:
        """The build to go on with, and its cursor: the one that is shown, or a new one."""
        with self.view:
            if rebuild:
                self._drop_hidden()  # what a rebuild left that did not get far
            elif found := self.view.execute(SHOWN).fetchone():
                return found[0], found[1]
            return self.view.execute(NEW, (not rebuild,)).lastrowid or 0, "start"

    def cursor(self) -> str:
        return self.at

    @contextmanager
    def moved(self, cursor: str) -> Iterator["Build"]:
        """Move the cursor, which must stand where this program has left it, and add what arrived."""
        with self.view:  # one transaction: the view and its cursor, both or neither
            if not self.view.execute(MOVE, (cursor, self.number, self.at)).rowcount:
                sys.exit("another projector has taken over")
            yield self
        self.at = cursor

    def add(self, fact: Fact) -> None:
        if order := fact.payload:  # null once it was erased
            self.view.execute(ADD, (self.number, order["customer"], fact.published_at[:10], order["cents"]))

    def show(self) -> None:
        with self.view:
            if self.view.execute(SHOW, (self.number,)).rowcount:
                self.view.execute(HIDE_OTHERS, (self.number,))
                self._drop_hidden()

    def _drop_hidden(self) -> None:
        for statement in DROP_HIDDEN:
            self.view.execute(statement)


def main(url: str, path: str, *options: str) -> None:
    build = Build(path, rebuild="--rebuild" in options)
    with Factwire(url, key=os.environ.get("KEY")) as log:
        try:
            log.project(build, QUERY, Build.add, until_caught_up=True)
            build.show()
            log.project(build, QUERY, Build.add)
        except Problem as problem:
            sys.exit(problem.text)  # going on would be wrong


if __name__ == "__main__":
    main(*sys.argv[1:])
