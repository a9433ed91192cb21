"""State of the log: head, epoch, floor, forks, and the positions of bounds in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Literal
from uuid import UUID

from uuid_utils import uuid7

from factwire.domain.audit import audit_fact
from factwire.domain.errors import (
    CursorAhead,
    CursorExpired,
    CursorForked,
    FactNotFound,
    StandbyBehind,
    Unavailable,
)
from factwire.domain.grants import EVERY_NAMESPACE, NamespaceSet
from factwire.domain.position import START, Bound, Cursor, Position
from factwire.domain.query import EVERYTHING, restricted
from factwire.store.append import append
from factwire.store.connection import Connection
from factwire.store.query_arguments import query_arrays
from factwire.store.read import GRID_POSITIONS, GRIDS_MAX, SEARCH_SECONDS, WORK_MAX
from factwire.store.read_tail import Fork
from factwire.store.rows import required_row
from factwire.store.timelines import parts_of, read_server

# One statement, so that head, floor and epochs are of one snapshot.
LOG = """
select factwire.head() as head,
       l.epoch,
       l.floor,
       pg_is_in_recovery() as on_standby,
       array(select e.epoch from factwire.epochs e order by e.epoch) as epochs,
       array(select e.forked_after from factwire.epochs e order by e.epoch) as forks
  from factwire.log l
"""


# The namespace of an archived fact is unknown: its id is only for callers that may read all namespaces.
POSITION_OF_ID = """
select k.position, f.namespace
  from factwire.fact_ids k
  left join factwire.facts f on f.position = k.position
 where k.id = $1
"""


# published_at never decreases with the position, so that a binary search finds the position. One statement, so that it
# is not beyond the head.
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


LOOK_BACK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Log:
    """The log at one moment. `forks` maps each epoch to the position up to which cursors of older epochs are valid.

    On a standby it is the log as it was a moment ago.
    """

    head: Position
    epoch: int
    floor: Position
    forks: Mapping[int, Position]
    on_standby: bool = False

    def locate(self, bound: Cursor | Literal["start", "head"]) -> "LogState":
        """Return the state of the log at a bound. Raises CursorForked, CursorAhead, CursorExpired or StandbyBehind."""
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
    """The log at one moment, and the position of a bound in it."""

    head: Position
    epoch: int
    position: Position

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.position)


async def read_log(connection: Connection) -> Log:
    row = required_row(await connection.fetchrow(LOG))
    forks = dict(zip(row["epochs"], row["forks"], strict=True))
    return Log(row["head"], row["epoch"], row["floor"], forks, row["on_standby"])


async def read_idempotency_secret(connection: Connection) -> bytes:
    secret: bytes = await connection.fetchval("select idempotency_secret from factwire.log")
    return secret


async def resolve(connection: Connection, bound: Bound, readable: NamespaceSet = EVERY_NAMESPACE) -> LogState:
    """Return the state of the log at a bound. Raises FactNotFound or an error of Log.locate if it has no position.

    The id of a fact that the caller may not read is treated like an unknown id.
    """
    if not isinstance(bound, UUID):
        return (await read_log(connection)).locate(bound)
    # In this order: a head that is read after the fact was found cannot be before it.
    row = await connection.fetchrow(POSITION_OF_ID, bound)
    if row is None or not may_see(row["namespace"], readable):
        raise FactNotFound(f"There is no fact with the id {bound}.")
    return (await read_log(connection)).at(row["position"])


def may_see(namespace: str | None, readable: NamespaceSet) -> bool:
    return readable.are_all if namespace is None else namespace in readable


def check_epoch(cursor: Cursor, *, current: int, forked_after: int | None) -> None:
    if cursor.epoch > current:
        raise CursorForked(epoch=current)
    if 0 < cursor.epoch < current and forked_after is not None and cursor.position > forked_after:
        raise CursorForked(epoch=current, forked_after=forked_after)


async def read_position(
    connection: Connection, time: datetime | None, readable: NamespaceSet
) -> tuple[LogState, datetime | None]:
    """Return the state of the log at the head or at the last fact published before a time, and the time of that fact.

    If the caller may read only some namespaces, it is the last fact in those: the times of others are not revealed.
    """
    row = required_row(await connection.fetchrow(POSITION, time))
    if time is None or readable.are_all:
        seen = row["namespace"] is not None and row["namespace"] in readable
        return LogState(row["head"], row["epoch"], row["position"]), row["published_at"] if seen else None
    position = await last_readable(connection, readable, after=row["floor"], until=row["position"])
    published_at = await connection.fetchval(PUBLISHED_AT, position)
    return LogState(row["head"], row["epoch"], position), published_at


async def last_readable(
    connection: Connection, readable: NamespaceSet, *, after: Position, until: Position
) -> Position:
    """Position of the last readable fact after `after` and up to `until`; `after` if no fact there is readable.

    Raises Unavailable if the search back takes too long.
    """
    found, through = await walk_back(connection, readable, after=after, until=until, facts_max=1)
    if not found and through > after:
        raise Unavailable("No fact that may be read was found in time.")
    return found[0] if found else after


async def walk_back(
    connection: Connection, readable: NamespaceSet, *, after: Position, until: Position, facts_max: int
) -> tuple[list[Position], Position]:
    """Newest readable facts after `after` and up to `until`, and the position down to which the search came."""
    arrays, give_up_at = query_arrays(restricted(EVERYTHING, readable)), monotonic() + LOOK_BACK_SECONDS
    bounds = (WORK_MAX, SEARCH_SECONDS, GRID_POSITIONS, GRIDS_MAX)
    found: list[Position] = []
    while until > after and len(found) < facts_max and monotonic() < give_up_at:
        row = required_row(
            await connection.fetchrow(LAST_MATCHES, *arrays, after, until, facts_max - len(found), *bounds)
        )
        found += row["positions"]
        until = row["through"]
    return found, until


# The first statement, as in an erasure: with another order of locks, the two would deadlock. And a separate statement:
# the next one then sees every publish that was acknowledged before, so that none is above the head that it reads.
LOCK_LOG = "select factwire.lock_log()"


RAISE_EPOCH = """
with raised as (
  update factwire.log
     set epoch = epoch + 1, forked_at = null, forked_after = null, system_identifier = $2, timeline = $3
  returning epoch
)
insert into factwire.epochs (epoch, forked_after)
select epoch, least($1::bigint, factwire.head()) from raised
returning epoch, forked_after
"""


# The first notice is kept, unless it did not know how much was lost.
KEEP_NOTICE = """
update factwire.log
   set forked_at = coalesce(forked_at, clock_timestamp()), forked_after = $2
 where epoch = $1 and (forked_at is null or (forked_after is null and $2::bigint is not null))
"""


async def raise_epoch(connection: Connection, *, forked_after: Position | None, by: str) -> tuple[int, Position]:
    """Begin a new epoch: older cursors stay valid up to `forked_after` (default: the head).

    Its first fact is the audit fact that records it. From then on facts are published again, on the server as it is.
    """
    # Outside the transaction: if the server does not report it, the error would abort the transaction.
    server = await read_server(connection)
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(LOCK_LOG)
        upper = 2**63 - 1 if forked_after is None else forked_after
        row = await connection.fetchrow(RAISE_EPOCH, upper, *parts_of(server))
        assert row is not None
        raised = {"epoch": row["epoch"], "forked_after": row["forked_after"]}
        about = f"epoch:{row['epoch']}"
        await append(
            connection, [([audit_fact("EpochRaised", id=str(uuid7()), by=by, about=about, payload=raised)], None)]
        )
    return row["epoch"], row["forked_after"]


async def keep_notice(connection: Connection, *, epoch: int, fork: Fork) -> None:
    """Store that history was replaced (a fork), so that no process publishes until the epoch is raised."""
    await connection.execute(KEEP_NOTICE, epoch, fork.after)
