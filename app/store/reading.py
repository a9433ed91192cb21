"""Reading: pages of history as ready bytes, single facts, and what the tail needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Literal, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from app.domain.errors import (
    CursorAhead,
    CursorExpired,
    CursorForked,
    FactNotFound,
    InternalError,
    LogDamaged,
    StandbyBehind,
)
from app.domain.fact import PAYLOAD_MARK, fact_tags, utc
from app.domain.grants import EVERY_NAMESPACE, Namespaces
from app.domain.position import START, Bound, Cursor, Position
from app.domain.query import Query
from app.store.database import Connection
from app.store.master_keys import NO_KEYS, MasterKeys
from app.store.matching import query_arrays
from app.store.sealing import UNREADABLE, Opener, read_seals

# One statement, so that head, epoch and facts are of one moment. A page with sealed payloads has no body.
READ_PAGE = """
select p.head, p.epoch, p.through, p.facts, p.last_position,
       case when not s.sealed then factwire.compose_page($10, p.epoch, $4, p.through, p.positions) end as body,
       case when s.sealed then p.positions end as positions
  from factwire.find_page($1, $2, $3, $4, $5, $6, $7, $8, $9) p
 cross join lateral factwire.holds_sealed($4, p.through, p.positions) s (sealed)
"""

LIST_FACTS = "select position, id, namespace, type, fact from factwire.list_facts($1, $2, $3, $4)"

READ_TAIL = """
select l.epoch, l.erasures, l.forked_at is not null as forked, l.forked_after, pg_is_in_recovery() as on_standby,
       t.position, t.published_at, t.id, t.namespace, t.type, t.document
  from factwire.log l
  left join lateral factwire.read_tail($1, $2, $3) t on true
"""

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
 cross join lateral factwire.holds_sealed(k.position - 1, k.position, null) s (sealed)
 where k.id = $1
   and exists (select from unnest($2::text[]) p (pattern) where factwire.covers(p.pattern, f.namespace))
   and not exists (select from unnest($3::text[]) p (pattern) where factwire.covers(p.pattern, f.namespace))
"""

FACT_AT = """
select f.position,
       case when not s.sealed then factwire.compose_page('elements', 0, f.position - 1, f.position, null) end as body
  from factwire.facts f
 cross join lateral factwire.holds_sealed(f.position - 1, f.position, null) s (sealed)
 where f.position = $1
   and exists (select from unnest($2::text[]) p (pattern) where factwire.covers(p.pattern, f.namespace))
   and not exists (select from unnest($3::text[]) p (pattern) where factwire.covers(p.pattern, f.namespace))
"""

# published_at never decreases as positions grow, so that a position is found by halving. One statement, so that it is
# not beyond the head.
POSITION = """
select factwire.head() as head, l.epoch, p.position, f.published_at, f.namespace
  from factwire.log l
 cross join lateral (
         select case when $1::timestamptz is null then factwire.head()
                     else (factwire.last_before($1)).position end as position) p
  left join factwire.facts f on f.position = p.position
"""

MARKS_AT = "select position, id, published_at from factwire.facts where position = any ($1)"


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


@dataclass(frozen=True, slots=True)
class PageBounds:
    """How much one page may hold, and how many postings it may visit on the way."""

    facts_max: int = 1000
    bytes_max: int = 1024 * 1024
    visits_max: int = 5000


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


class Mark(NamedTuple):
    """What tells a fact from every other one. A fact that was lost and published again has its id, at another time."""

    id: str
    published_at: str


class TailFact(NamedTuple):
    """A stored fact as the tail reads it: like the NewFact that it was, with its place.

    Where it has a data subject, the payload is still to be put in: see `open_tail`.
    """

    position: Position
    published_at: str
    id: str
    namespace: str
    type: str
    tags: tuple[str, ...]
    document: bytes
    data_subject: str = ""
    unreadable: bool = False


@dataclass(frozen=True, slots=True)
class Fork:
    """History was replaced by another one after a position; None where that is unknown."""

    after: Position | None


@dataclass(frozen=True, slots=True)
class TailRead:
    """One look at the tail: the epoch, the number of erasures and redactions, a fork that was noticed, and facts."""

    epoch: int
    erasures: int
    fork: Fork | None
    on_standby: bool
    facts: Sequence[TailFact]


class KnownParts(msgspec.Struct):
    """What of a document its tags are made of, and whose it is."""

    aggregate_ids: list[str]
    meta: dict[str, str | list[str]]
    data_subject: str = ""

    @property
    def tags(self) -> tuple[str, ...]:
        return fact_tags(self.aggregate_ids, self.meta)


KNOWN_PARTS = msgspec.json.Decoder(KnownParts)
UNKNOWN_PARTS = KnownParts([], {})
ALL_BYTES = 2**31 - 1  # of what was bounded already


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
    """Read one page. Raises KeyUnavailable where a payload on it cannot be opened by this process."""
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


async def read_tail(connection: Connection, *, anchor: Position, facts_max: int, bytes_max: int) -> TailRead:
    """The facts from the anchor on, the one at the anchor included, up to the first that is missing.

    Raises LogDamaged where that leaves no new one.
    """
    rows = await connection.fetch(READ_TAIL, anchor, facts_max, bytes_max)
    facts = [tail_fact(row) for row in rows if row["position"] is not None]
    for place, (before, fact) in enumerate(pairwise(facts), 1):
        if fact.position != before.position + 1:
            if before.position == anchor:
                raise LogDamaged(f"The fact at position {anchor + 1} is missing.")
            facts = facts[:place]
            break
    log = rows[0]
    fork = Fork(log["forked_after"]) if log["forked"] else None
    return TailRead(log["epoch"], log["erasures"], fork, log["on_standby"], facts)


def tail_fact(row: asyncpg.Record) -> TailFact:
    """A fact as it is stored; one whose document cannot be parsed is marked as unreadable and has no tags."""
    try:
        parts = known_parts(row["document"])
    except (ValueError, msgspec.MsgspecError):
        parts = UNKNOWN_PARTS
    return TailFact(
        row["position"],
        row["published_at"],
        str(row["id"]),
        row["namespace"],
        row["type"],
        parts.tags,
        row["document"],
        parts.data_subject,
        parts is UNKNOWN_PARTS or row["document"].endswith(UNREADABLE),
    )


def known_parts(document: bytes) -> KnownParts:
    """Raises ValueError where the document, from `"id"` on, is that of no fact."""
    # The payload is not looked into: it may hold what the decoder refuses, such as a lone surrogate.
    return KNOWN_PARTS.decode(b"{%b}}" % document[: document.index(PAYLOAD_MARK)])


async def open_tail(
    connection: Connection, facts: Sequence[TailFact], *, bytes_max: int, master_keys: MasterKeys
) -> Sequence[TailFact]:
    """The facts with their payloads put in, up to the first that does not fit. Raises KeyUnavailable."""
    positions = [fact.position for fact in facts if fact.data_subject]
    if not positions:
        return facts
    seals = await read_seals(connection, positions, bytes_max=bytes_max)
    opener = Opener(master_keys)
    ready: list[TailFact] = []
    for fact in facts:
        seal = seals.get(fact.position)
        if fact.data_subject and seal is None:
            if fact.position < max(seals, default=fact.position + 1):
                raise InternalError(f"The seal of position {fact.position} is gone: run `factwire verify`.")
            break
        ready.append(fact._replace(document=opener.opened(fact.document, fact.id, fact.position, seal)))
    return ready


async def read_log(connection: Connection) -> Log:
    row = await connection.fetchrow(LOG)
    assert row is not None
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
    """The newest fact, or the last one published before a time: where it stands, and its time if it may be read."""
    row = await connection.fetchrow(POSITION, time)
    assert row is not None
    published_at = row["published_at"] if row["namespace"] is not None and row["namespace"] in readable else None
    return LogState(row["head"], row["epoch"], row["position"]), published_at


async def read_marks(connection: Connection, positions: Sequence[Position]) -> list[tuple[Position, Mark]]:
    """The marks of the facts at some positions, as far as there are any."""
    rows = await connection.fetch(MARKS_AT, list(positions))
    return [(row["position"], Mark(str(row["id"]), utc(row["published_at"]))) for row in rows]
