"""Reading: pages of history as ready bytes, single facts, and what the tail needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec

from app.domain.errors import CursorAhead, CursorExpired, CursorForked, FactNotFound
from app.domain.fact import fact_tags, utc
from app.domain.grants import EVERY_NAMESPACE, Namespaces
from app.domain.position import START, Bound, Cursor, Position
from app.domain.query import Query
from app.store.database import Connection
from app.store.matching import query_arrays

# One statement, so that head, epoch and facts are of one moment.
READ_PAGE = """
select p.head, p.epoch, p.through, p.facts, p.last_position,
       factwire.compose_page($10, p.epoch, $4, p.through, p.positions) as body
  from factwire.find_page($1, $2, $3, $4, $5, $6, $7, $8, $9) p
"""

READ_TAIL = """
select l.epoch, t.position, t.published_at, t.id, t.namespace, t.type, t.document
  from factwire.log l
  left join lateral factwire.read_tail($1, $2, $3) t on true
"""

# One statement, so that head, floor and epochs are of one moment.
LOG = """
select factwire.head() as head,
       l.epoch,
       l.floor,
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

FACT_BY_ID = """
select k.position, f.namespace, factwire.compose_page('elements', 0, k.position - 1, k.position, null) as body
  from factwire.fact_ids k
  join factwire.facts f on f.position = k.position
 where k.id = $1
"""

FACT_AT = """
select f.position, f.namespace, factwire.compose_page('elements', 0, $1 - 1, $1, null) as body
  from factwire.facts f
 where f.position = $1
"""

# published_at never decreases as positions grow, so that a position is found by halving.
POSITION_BEFORE = "select position, published_at from factwire.last_before($1)"

PUBLISHED_AT = "select published_at, namespace from factwire.facts where position = $1"

MARKS_AT = "select position, id, published_at from factwire.facts where position = any ($1)"


class Form(StrEnum):
    """How the facts of a page are composed; see compose_page in alembic/sql."""

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


@dataclass(frozen=True, slots=True)
class PageBounds:
    """How much one page may hold, and how many postings it may visit on the way."""

    facts_max: int = 1000
    bytes_max: int = 1024 * 1024
    visits_max: int = 5000


@dataclass(frozen=True, slots=True)
class Log:
    """The log at one moment; `forks` says of each epoch up to where cursors of older ones are good."""

    head: Position
    epoch: int
    floor: Position
    forks: Mapping[int, Position]

    def locate(self, bound: Cursor | Literal["start", "head"]) -> "LogState":
        """Where a bound lies. Raises CursorForked, CursorAhead or CursorExpired where it lies nowhere."""
        match bound:
            case "start":
                return LogState(self.head, self.epoch, max(START, self.floor))
            case "head":
                return LogState(self.head, self.epoch, self.head)
            case Cursor():
                later = [fork for epoch, fork in self.forks.items() if epoch > bound.epoch]
                check_epoch(bound, current=self.epoch, forked_after=min(later, default=None))
                return self.at(bound.position)

    def at(self, position: Position) -> "LogState":
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


class Mark(NamedTuple):
    """What tells a fact from every other one. A fact that was lost and published again has its id, at another time."""

    id: str
    published_at: str


class TailFact(NamedTuple):
    """A stored fact as the tail reads it: like the NewFact that it was, with its place."""

    position: Position
    published_at: str
    id: str
    namespace: str
    type: str
    tags: tuple[str, ...]
    document: bytes


class MatchedParts(msgspec.Struct):
    """What of a document its tags are made of."""

    aggregate_ids: list[str]
    meta: dict[str, str | list[str]]


MATCHED_PARTS = msgspec.json.Decoder(MatchedParts)


async def read_page(
    connection: Connection,
    query: Query,
    *,
    after: Position,
    until: Position | None = None,
    descending: bool = False,
    form: Form,
    bounds: PageBounds,
) -> Page:
    row = await connection.fetchrow(
        READ_PAGE,
        *query_arrays(query),
        after,
        until,
        descending,
        bounds.facts_max,
        bounds.visits_max,
        bounds.bytes_max,
        form,
    )
    assert row is not None
    return Page(row["head"], row["epoch"], row["through"], row["facts"], row["last_position"], row["body"])


async def read_tail(
    connection: Connection, *, anchor: Position, facts_max: int, bytes_max: int
) -> tuple[int, Sequence[TailFact]]:
    """The epoch, and the facts from the anchor on, the one at the anchor included."""
    rows = await connection.fetch(READ_TAIL, anchor, facts_max, bytes_max)
    return rows[0]["epoch"], [
        TailFact(
            row["position"],
            row["published_at"],
            str(row["id"]),
            row["namespace"],
            row["type"],
            tags_of(row["document"]),
            row["document"],
        )
        for row in rows
        if row["position"] is not None
    ]


def tags_of(document: bytes) -> tuple[str, ...]:
    # The payload is not looked into: it may hold what the decoder refuses, such as a lone surrogate. Within a text the
    # quotes of this mark would be escaped.
    parts = MATCHED_PARTS.decode(b"{%b}}" % document[: document.index(b'},"payload":')])
    return fact_tags(parts.aggregate_ids, parts.meta)


async def read_log(connection: Connection) -> Log:
    row = await connection.fetchrow(LOG)
    assert row is not None
    return Log(row["head"], row["epoch"], row["floor"], dict(zip(row["epochs"], row["forks"], strict=True)))


async def resolve(connection: Connection, bound: Bound, readable: Namespaces = EVERY_NAMESPACE) -> LogState:
    """Where a bound lies. Raises FactNotFound, CursorForked, CursorAhead or CursorExpired where it lies nowhere.

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
    connection: Connection, at: UUID | Position, readable: Namespaces = EVERY_NAMESPACE
) -> tuple[Position, bytes]:
    """One fact as JSON. Raises FactNotFound, also where it may not be read."""
    row = await connection.fetchrow(FACT_BY_ID if isinstance(at, UUID) else FACT_AT, at)
    if row is None or row["namespace"] not in readable:
        raise FactNotFound(
            f"There is no fact with the id {at}." if isinstance(at, UUID) else f"There is no fact at position {at}."
        )
    return row["position"], row["body"][:-1]


async def read_last_before(connection: Connection, time: datetime) -> tuple[Position, datetime | None]:
    """The last fact published before a time: its position and time, or the start and None."""
    row = await connection.fetchrow(POSITION_BEFORE, time)
    assert row is not None
    return row["position"], row["published_at"]


async def read_published_at(connection: Connection, position: Position, readable: Namespaces) -> datetime | None:
    """When a fact was published; None where there is none, or none that may be read."""
    row = await connection.fetchrow(PUBLISHED_AT, position)
    return None if row is None or row["namespace"] not in readable else row["published_at"]


async def read_marks(connection: Connection, positions: Sequence[Position]) -> list[tuple[Position, Mark]]:
    """The marks of the facts at some positions, as far as there are any."""
    rows = await connection.fetch(MARKS_AT, list(positions))
    return [(row["position"], Mark(str(row["id"]), utc(row["published_at"]))) for row in rows]
