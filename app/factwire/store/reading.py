"""Reading: pages of history as ready bytes, single facts, and where the log stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from time import monotonic
from typing import Literal
from uuid import UUID

import asyncpg

from factwire.domain.errors import (
    CursorAhead,
    CursorExpired,
    CursorForked,
    FactNotFound,
    StandbyBehind,
    Unavailable,
)
from factwire.domain.grants import EVERY_NAMESPACE, Namespaces
from factwire.domain.position import START, Bound, Cursor, Position
from factwire.domain.query import EVERYTHING, Query, restricted
from factwire.store.database import Connection
from factwire.store.master_keys import NO_KEYS, MasterKeys
from factwire.store.matching import query_arrays
from factwire.store.rows import always
from factwire.store.sealing import Opener, read_seals

# One statement, so that head, epoch and facts are of one moment. A page with sealed payloads has no body.
READ_PAGE = """
select p.head, p.epoch, p.through, p.facts, p.last_position,
       case when not s.sealed then factwire.compose_page($13, p.epoch, $4, p.through, p.positions) end as body,
       case when s.sealed then p.positions end as positions
  from factwire.find_page($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) p
 cross join lateral factwire.contains_sealed($4, p.through, p.positions) s (sealed)
"""

LIST_FACTS = "select position, id, namespace, type, fact from factwire.list_facts($1, $2, $3, $4)"

# One statement, so that head, floor and epochs are of one moment.
LOG = """
select factwire.head() as head,
       l.epoch,
       l.floor,
       pg_is_in_recovery() as on_standby,
       array(select e.epoch from factwire.epochs e order by e.epoch) as epochs,
       array(select e.forked_after from factwire.epochs e order by e.epoch) as forks
  from factwire.log l
"""

# Of an archived fact nobody can tell the namespace: its id is for those who may read all of them.
POSITION_OF_ID = """
select k.position, f.namespace
  from factwire.fact_ids k
  left join factwire.facts f on f.position = k.position
 where k.id = $1
"""

# What may not be read is not even put together: the time that takes would tell that it is there, and how large.
FACT_BY_ID = """
select k.position,
       case when not s.sealed then factwire.compose_page('elements', 0, k.position - 1, k.position, null) end as body
  from factwire.fact_ids k
  join factwire.facts f on f.position = k.position
 cross join lateral factwire.contains_sealed(k.position - 1, k.position, null) s (sealed)
 where k.id = $1
   and exists (select from unnest($2::text[]) p (pattern) where factwire.covers(p.pattern, f.namespace))
   and not exists (select from unnest($3::text[]) p (pattern) where factwire.covers(p.pattern, f.namespace))
"""

FACT_AT = """
select f.position,
       case when not s.sealed then factwire.compose_page('elements', 0, f.position - 1, f.position, null) end as body
  from factwire.facts f
 cross join lateral factwire.contains_sealed(f.position - 1, f.position, null) s (sealed)
 where f.position = $1
   and exists (select from unnest($2::text[]) p (pattern) where factwire.covers(p.pattern, f.namespace))
   and not exists (select from unnest($3::text[]) p (pattern) where factwire.covers(p.pattern, f.namespace))
"""

# published_at never decreases as positions grow, so that a position is found by halving. One statement, so that it is
# not beyond the head.
POSITION = """
select factwire.head() as head, l.epoch, l.floor, p.position, f.published_at, f.namespace
  from factwire.log l
 cross join lateral (
         select case when $1::timestamptz is null then factwire.head()
                     else (factwire.last_fact_before($1)).position end as position) p
  left join factwire.facts f on f.position = p.position
"""


LAST_MATCHES = """
select positions, through from factwire.walk_query($1, $2, $3, $4, $5, true, $6, $7, $8, $9, $10)
"""

PUBLISHED_AT = "select published_at from factwire.facts where position = $1"


class Form(StrEnum):
    """The form of a page; see compose_page in alembic/sql."""

    EVENTS = "events"
    TYPED_EVENTS = "typed-events"
    LINES = "lines"
    ELEMENTS = "elements"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of history as ready bytes. `through` is how far it came, matches or not; `last` is the position of
    the last fact in it. `head` is of the same moment.
    """

    head: Position
    epoch: int
    through: Position
    facts: int
    last: Position | None
    body: bytes

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.through)


ALL_BYTES = 2**31 - 1  # of what was bounded already
WORK_MAX = 20_000
SEARCH_SECONDS = 0.15  # which the search for one page may take
# Where a page passes what its reader may not read, it ends at a multiple of so many positions from where it began, and
# goes over so many of those at most: its end must not tell what was there. See docs/access.md.
GRID_POSITIONS = 1000
GRIDS_MAX = 100
LOOK_BACK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class PageBounds:
    """How much one page may hold, and how much work it may be, in probes, postings and facts that are looked at."""

    facts_max: int = 1000
    bytes_max: int = 1024 * 1024
    work_max: int = WORK_MAX


@dataclass(frozen=True, slots=True)
class Log:
    """The log at one moment; `forks` says of each epoch up to where cursors of older ones are good.

    A standby shows the log as it was a moment ago.
    """

    head: Position
    epoch: int
    floor: Position
    forks: Mapping[int, Position]
    on_standby: bool = False

    def locate(self, bound: Cursor | Literal["start", "head"]) -> "LogState":
        """Where a bound lies. Raises CursorForked, CursorAhead, CursorExpired or StandbyBehind."""
        match bound:
            case "start":
                return LogState(self.head, self.epoch, max(START, self.floor))
            case "head":
                return LogState(self.head, self.epoch, self.head)
            case Cursor():
                if bound.epoch > self.epoch and self.on_standby:
                    raise StandbyBehind(f"epoch {bound.epoch}", head=self.head)
                later = [fork for epoch, fork in self.forks.items() if epoch > bound.epoch]
                check_epoch(bound, current=self.epoch, forked_after=min(later, default=None))
                return self.at(bound.position)

    def at(self, position: Position) -> "LogState":
        if position > self.head and self.on_standby:
            raise StandbyBehind(f"position {position}", head=self.head)
        if position > self.head:
            raise CursorAhead(epoch=self.epoch, head=self.head)
        if position < self.floor:
            raise CursorExpired(floor=self.floor)
        return LogState(self.head, self.epoch, position)


@dataclass(frozen=True, slots=True)
class LogState:
    """The log at one moment, and where a bound lies in it."""

    head: Position
    epoch: int
    position: Position

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.position)


async def read_page(
    connection: Connection,
    query: Query,
    *,
    after: Position,
    until: Position | None = None,
    descending: bool = False,
    form: Form,
    bounds: PageBounds,
    master_keys: MasterKeys = NO_KEYS,
) -> Page:
    """Read one page.

    Raises KeyUnavailable where a payload on it cannot be opened by this process, and Unavailable where the time was too
    short for a first step.
    """
    row = await connection.fetchrow(
        READ_PAGE,
        *query_arrays(query),
        after,
        until,
        descending,
        bounds.facts_max,
        bounds.work_max,
        bounds.bytes_max,
        SEARCH_SECONDS,
        GRID_POSITIONS,
        GRIDS_MAX,
        form,
    )
    assert row is not None
    top = row["head"] if until is None else min(until, row["head"])
    if row["facts"] == 0 and after < top and row["through"] == (top if descending else after):
        raise Unavailable("The search could not make a step in time.")
    page = Page(row["head"], row["epoch"], row["through"], row["facts"], row["last_position"], row["body"] or b"")
    if row["body"] is not None:
        return page
    listed = await connection.fetch(LIST_FACTS, after, page.through, row["positions"], bounds.bytes_max)
    facts = await opened(connection, listed, master_keys)
    last = listed[-1]["position"]
    # With their payloads they may be more than one page holds.
    through = page.through if len(facts) == page.facts else last - descending
    return Page(page.head, page.epoch, through, len(facts), last, composed(listed, facts, form, epoch=page.epoch))


async def opened(connection: Connection, listed: Sequence[asyncpg.Record], master_keys: MasterKeys) -> list[bytes]:
    """The facts of a page with their payloads, as far as those are not erased."""
    seals = await read_seals(connection, [row["position"] for row in listed], bytes_max=ALL_BYTES)
    opener = Opener(master_keys)
    return [opener.opened(row["fact"], str(row["id"]), row["position"], seals.get(row["position"])) for row in listed]


def composed(listed: Sequence[asyncpg.Record], facts: Sequence[bytes], form: Form, *, epoch: int) -> bytes:
    """Facts as a page, byte for byte as compose_page has it."""
    if form in (Form.LINES, Form.ELEMENTS):
        behind = b"\n" if form is Form.LINES else b","
        return b"".join([part for fact in facts for part in (fact, behind)])
    typed = form is Form.TYPED_EVENTS
    return b"".join(
        b"%bdata: %b\nid: %d:%d\n\n"
        % (f"event: {row['namespace']}/{row['type']}\n".encode() if typed else b"", fact, epoch, row["position"])
        for row, fact in zip(listed, facts, strict=True)
    )


async def read_log(connection: Connection) -> Log:
    row = always(await connection.fetchrow(LOG))
    forks = dict(zip(row["epochs"], row["forks"], strict=True))
    return Log(row["head"], row["epoch"], row["floor"], forks, row["on_standby"])


async def resolve(connection: Connection, bound: Bound, readable: Namespaces = EVERY_NAMESPACE) -> LogState:
    """Where a bound lies. Raises FactNotFound, and what Log.locate raises, where it lies nowhere.

    The id of a fact that may not be read is as unknown as any other.
    """
    if not isinstance(bound, UUID):
        return (await read_log(connection)).locate(bound)
    # In this order: the head that is read afterwards cannot be before a fact that was found.
    row = await connection.fetchrow(POSITION_OF_ID, bound)
    if row is None or not may_see(row["namespace"], readable):
        raise FactNotFound(f"There is no fact with the id {bound}.")
    return (await read_log(connection)).at(row["position"])


def may_see(namespace: str | None, readable: Namespaces) -> bool:
    return readable.are_all if namespace is None else namespace in readable


def check_epoch(cursor: Cursor, *, current: int, forked_after: int | None) -> None:
    if cursor.epoch > current:
        raise CursorForked(epoch=current)
    if 0 < cursor.epoch < current and forked_after is not None and cursor.position > forked_after:
        raise CursorForked(epoch=current, forked_after=forked_after)


async def read_fact(
    connection: Connection,
    at: UUID | Position,
    readable: Namespaces = EVERY_NAMESPACE,
    *,
    master_keys: MasterKeys = NO_KEYS,
) -> tuple[Position, bytes]:
    """One fact as JSON. Raises FactNotFound, also where it may not be read, and KeyUnavailable."""
    statement = FACT_BY_ID if isinstance(at, UUID) else FACT_AT
    row = await connection.fetchrow(statement, at, readable.include, readable.exclude)
    if row is None:
        raise FactNotFound(
            f"There is no fact with the id {at}." if isinstance(at, UUID) else f"There is no fact at position {at}."
        )
    if row["body"] is None:
        position = row["position"]
        listed = await connection.fetch(LIST_FACTS, position - 1, position, None, ALL_BYTES)
        return position, (await opened(connection, listed, master_keys))[0]
    return row["position"], row["body"][:-1]


async def read_position(
    connection: Connection, time: datetime | None, readable: Namespaces
) -> tuple[LogState, datetime | None]:
    """Where the log ends, or where the last fact stands that was published before a time, and when that was.

    For somebody who may read only some namespaces it is the last fact among those: when others published is not told.
    """
    row = always(await connection.fetchrow(POSITION, time))
    if time is None or readable.are_all:
        seen = row["namespace"] is not None and row["namespace"] in readable
        return LogState(row["head"], row["epoch"], row["position"]), row["published_at"] if seen else None
    position = await last_readable(connection, readable, after=row["floor"], until=row["position"])
    published_at = await connection.fetchval(PUBLISHED_AT, position)
    return LogState(row["head"], row["epoch"], position), published_at


async def last_readable(connection: Connection, readable: Namespaces, *, after: Position, until: Position) -> Position:
    """The last fact behind one position and up to another that may be read; the first of them if there is none.

    Raises Unavailable where it takes too long to look back that far.
    """
    found, through = await walk_back(connection, readable, after=after, until=until, facts_max=1)
    if not found and through > after:
        raise Unavailable("No fact that may be read was found in time.")
    return found[0] if found else after


async def walk_back(
    connection: Connection, readable: Namespaces, *, after: Position, until: Position, facts_max: int
) -> tuple[list[Position], Position]:
    """The newest facts behind one position and up to another that may be read, and how far back that came."""
    arrays, give_up_at = query_arrays(restricted(EVERYTHING, readable)), monotonic() + LOOK_BACK_SECONDS
    bounds = (WORK_MAX, SEARCH_SECONDS, GRID_POSITIONS, GRIDS_MAX)
    found: list[Position] = []
    while until > after and len(found) < facts_max and monotonic() < give_up_at:
        row = always(await connection.fetchrow(LAST_MATCHES, *arrays, after, until, facts_max - len(found), *bounds))
        found += row["positions"]
        until = row["through"]
    return found, until
