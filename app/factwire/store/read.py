"""Reads of history: pages as ready bytes, and single facts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

import asyncpg

from factwire.domain.errors import (
    FactNotFound,
    Unavailable,
)
from factwire.domain.grants import EVERY_NAMESPACE, NamespaceSet
from factwire.domain.position import START, Cursor, Position
from factwire.domain.query import Query
from factwire.store.connection import Connection
from factwire.store.encryption.keys import NO_KEYS, MasterKeys
from factwire.store.encryption.payloads import PayloadDecryptor, read_seals
from factwire.store.query_arguments import query_arrays

# One statement, so that head, epoch and facts are of one snapshot. A page with sealed payloads has no body.
READ_PAGE = """
select p.head, p.epoch, p.through, p.facts, p.last_position, (select l.floor from factwire.log l) as floor,
       case when not s.sealed then factwire.compose_page($13, p.epoch, $4, p.through, p.positions) end as body,
       case when s.sealed then p.positions end as positions
  from factwire.find_page($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) p
 cross join lateral factwire.contains_sealed($4, p.through, p.positions) s (sealed)
"""

LIST_FACTS = "select position, id, namespace, type, fact from factwire.list_facts($1, $2, $3, $4)"


# A fact that may not be read is not even composed: the time for that would reveal its existence and its size.
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


class Form(StrEnum):
    """Output format of a page; see compose_page in alembic/sql."""

    EVENTS = "events"
    TYPED_EVENTS = "typed-events"
    LINES = "lines"
    ELEMENTS = "elements"


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A page of history as ready bytes.

    `through` is the position that the search reached, with or without matches; `last` is the position of the last fact
    in the page. `head` and `floor`, the last position without a fact at the start of the log, are of the same snapshot.
    """

    head: Position
    epoch: int
    through: Position
    facts: int
    last: Position | None
    body: bytes
    floor: Position = START

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.through)


ALL_BYTES = 2**31 - 1  # no limit in bytes, for facts that were bounded already
WORK_MAX = 20_000
SEARCH_SECONDS = 0.15  # time limit of the search for one page
# A page that passes facts that its reader may not read ends at a multiple of GRID_POSITIONS from its start, and covers
# at most GRIDS_MAX such steps: its end must not reveal the facts that it passed. See docs/access.md.
GRID_POSITIONS = 1000
GRIDS_MAX = 100


@dataclass(frozen=True, slots=True)
class PageBounds:
    """Limits of one page: its size, and its work, counted in probes, postings and facts that are read."""

    facts_max: int = 1000
    bytes_max: int = 1024 * 1024
    work_max: int = WORK_MAX


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
) -> HistoryPage:
    """Read one page.

    Raises KeyUnavailable if this process cannot decrypt a payload on it, and Unavailable if the time was too short for
    a first step.
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
        raise Unavailable("The search made no progress in time.")
    page = HistoryPage(
        row["head"],
        row["epoch"],
        row["through"],
        row["facts"],
        row["last_position"],
        row["body"] or b"",
        row["floor"],
    )
    if row["body"] is not None:
        return page
    listed = await connection.fetch(LIST_FACTS, after, page.through, row["positions"], bounds.bytes_max)
    facts = await decrypt_facts(connection, listed, master_keys)
    last = listed[-1]["position"]
    # With their payloads, the facts may exceed the limit of one page.
    through = page.through if len(facts) == page.facts else last - descending
    body = build_page(listed, facts, form, epoch=page.epoch)
    return replace(page, through=through, facts=len(facts), last=last, body=body)


async def decrypt_facts(
    connection: Connection, listed: Sequence[asyncpg.Record], master_keys: MasterKeys
) -> list[bytes]:
    """Facts of a page with their decrypted payloads, except payloads that were erased."""
    seals = await read_seals(connection, [row["position"] for row in listed], bytes_max=ALL_BYTES)
    opener = PayloadDecryptor(master_keys)
    return [opener.opened(row["fact"], str(row["id"]), row["position"], seals.get(row["position"])) for row in listed]


def build_page(listed: Sequence[asyncpg.Record], facts: Sequence[bytes], form: Form, *, epoch: int) -> bytes:
    """Compose a page of facts, byte for byte as compose_page does."""
    if form in (Form.LINES, Form.ELEMENTS):
        behind = b"\n" if form is Form.LINES else b","
        return b"".join([part for fact in facts for part in (fact, behind)])
    typed = form is Form.TYPED_EVENTS
    return b"".join(
        b"%bdata: %b\nid: %d:%d\n\n"
        % (f"event: {row['namespace']}/{row['type']}\n".encode() if typed else b"", fact, epoch, row["position"])
        for row, fact in zip(listed, facts, strict=True)
    )


async def read_fact(
    connection: Connection,
    at: UUID | Position,
    readable: NamespaceSet = EVERY_NAMESPACE,
    *,
    master_keys: MasterKeys = NO_KEYS,
) -> tuple[Position, bytes]:
    """Read one fact as JSON. Raises FactNotFound, also if it may not be read, and KeyUnavailable."""
    statement = FACT_BY_ID if isinstance(at, UUID) else FACT_AT
    row = await connection.fetchrow(statement, at, readable.include, readable.exclude)
    if row is None:
        raise FactNotFound(
            f"There is no fact with the id {at}." if isinstance(at, UUID) else f"There is no fact at position {at}."
        )
    if row["body"] is None:
        position = row["position"]
        listed = await connection.fetch(LIST_FACTS, position - 1, position, None, ALL_BYTES)
        return position, (await decrypt_facts(connection, listed, master_keys))[0]
    return row["position"], row["body"][:-1]
