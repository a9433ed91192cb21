"""Facts of a subscription, one by one: its next matches, and those at some positions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from factwire.domain.errors import Unavailable
from factwire.domain.fact import PAYLOAD_MARK
from factwire.domain.position import START, Position
from factwire.domain.query import Query
from factwire.store.connection import Connection
from factwire.store.encryption.keys import MasterKeys
from factwire.store.query_arguments import query_arrays
from factwire.store.read import (
    ALL_BYTES,
    GRID_POSITIONS,
    GRIDS_MAX,
    LIST_FACTS,
    SEARCH_SECONDS,
    WORK_MAX,
    decrypt_facts,
)

PAGE_FACTS = 1000

FIND_MATCHES = """
select p.head, p.epoch, p.through, p.facts, p.positions, (select l.floor from factwire.log l) as floor
  from factwire.find_page($1, $2, $3, $4, null, false, $5, $6, $7, $8, $9, $10) p
"""


class FactJson(NamedTuple):
    """A fact as it is sent, and its position."""

    position: Position
    json: bytes


@dataclass(frozen=True, slots=True)
class FoundMatches:
    """Matches of a query after a position, up to `through`; head, epoch and floor are of the same snapshot."""

    head: Position
    epoch: int
    floor: Position
    through: Position
    facts: Sequence[FactJson]


class AggregateIds(msgspec.Struct):
    """The part of a fact that orders it."""

    aggregate_ids: list[str]


AGGREGATE_IDS = msgspec.json.Decoder(AggregateIds)


async def find_matches(
    connection: Connection, query: Query, *, after: Position, facts_max: int, bytes_max: int, master_keys: MasterKeys
) -> FoundMatches:
    """Find the next matches of a query. Raises KeyUnavailable, and Unavailable if the search made no progress."""
    row = await connection.fetchrow(
        FIND_MATCHES,
        *query_arrays(query),
        after,
        facts_max,
        WORK_MAX,
        bytes_max,
        SEARCH_SECONDS,
        GRID_POSITIONS,
        GRIDS_MAX,
    )
    assert row is not None
    if row["facts"] == 0 and row["through"] == after < row["head"]:
        raise Unavailable("The search made no progress in time.")
    facts: Sequence[FactJson] = ()
    through = row["through"]
    if row["facts"]:
        facts = await list_facts(connection, after, through, row["positions"], bytes_max, master_keys)
        if len(facts) < row["facts"]:
            through = facts[-1].position
    return FoundMatches(row["head"], row["epoch"], row["floor"], through, facts)


async def list_facts_at(
    connection: Connection, positions: Sequence[Position], *, bytes_max: int, master_keys: MasterKeys
) -> list[FactJson]:
    """Facts at some positions, as many as fit, at least one. Raises KeyUnavailable."""
    return await list_facts(connection, START, START, positions, bytes_max, master_keys)


async def list_facts(
    connection: Connection,
    after: Position,
    through: Position,
    positions: Sequence[Position] | None,
    bytes_max: int,
    master_keys: MasterKeys,
) -> list[FactJson]:
    listed = await connection.fetch(LIST_FACTS, after, through, positions, min(bytes_max, ALL_BYTES))
    bodies = await decrypt_facts(connection, listed, master_keys)
    return [FactJson(row["position"], body) for row, body in zip(listed, bodies, strict=True)]


async def find_positions(connection: Connection, query: Query) -> list[Position]:
    """Positions of all matches of a query, for queries with few matches."""
    positions: list[Position] = []
    after, head = START, START + 1
    while after < head:
        row = await connection.fetchrow(
            FIND_MATCHES,
            *query_arrays(query),
            after,
            PAGE_FACTS,
            WORK_MAX,
            ALL_BYTES,
            SEARCH_SECONDS,
            GRID_POSITIONS,
            GRIDS_MAX,
        )
        assert row is not None
        if row["through"] == after < row["head"]:
            raise Unavailable("The search made no progress in time.")
        found = row["positions"]
        positions += map(Position, range(after + 1, row["through"] + 1) if found is None else found)
        after, head = row["through"], row["head"]
    return positions


def aggregate_ids_of(fact: bytes) -> list[str]:
    """Aggregate ids of a fact as it is sent."""
    # The payload is not decoded: it may contain text that the decoder refuses; see known_parts.
    return AGGREGATE_IDS.decode(fact[: fact.index(PAYLOAD_MARK)] + b"}}").aggregate_ids
