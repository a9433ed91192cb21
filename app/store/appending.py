"""Appending: the facts of many requests in one call, each with an outcome of its own."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg

from app.domain.condition import Condition
from app.domain.fact import NewFact, kind_tag
from app.domain.position import Position
from app.domain.query import Query
from app.store.database import Connection
from app.store.matching import query_arrays

# How the order of the log comes about stands in alembic/sql/append_facts_v1.sql, at the line that makes it.
APPEND_FACTS = """
select head, head_id, epoch, published_at, refused, outcomes, positions
  from factwire.append_facts(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
"""

KNOWN_FACTS = """
select k.id, k.position, k.digest, f.published_at, l.epoch
  from factwire.log l
  join factwire.fact_ids k on k.id = any ($1)
  left join factwire.facts f on f.position = k.position
"""

FIRST_MATCH = """
select w.positions[1] as position, w.through, h.head, l.epoch
  from factwire.log l
 cross join factwire.head() h (head)
 cross join lateral factwire.walk_query($1, $2, $3, $4, h.head, false, 1, $5) w
"""

FACT_ID_AT = "select id from factwire.facts where position = $1"

UNDER_LOCK_VISITS_MAX = 10_000
WITHOUT_LOCK_VISITS_MAX = 100_000


class Outcome(StrEnum):
    """Why append_facts refuses a request; the meanings stand there."""

    KNOWN = "known"
    FAILED = "failed"
    SLOW = "slow"
    AGAIN = "again"
    FORKED = "forked"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request was not appended. `position` is that of a forbidden fact, or the head."""

    outcome: Outcome
    position: Position | None


@dataclass(frozen=True, slots=True)
class Appended:
    """What one call did. The facts of all requests but the refused ones stand behind `head`, in their order.

    `head` and `head_id` are the last fact before them (None in an empty log). `refused` has the index of the request.
    """

    head: Position
    head_id: UUID | None
    epoch: int
    published_at: datetime
    refused: Mapping[int, Refused]


@dataclass(frozen=True, slots=True)
class KnownFact:
    """A fact whose id is stored already. `published_at` is None where the fact itself was archived."""

    position: Position
    digest: bytes
    published_at: datetime | None
    epoch: int


@dataclass(frozen=True, slots=True)
class FirstMatch:
    """How far the log was searched, and the first match found on the way."""

    position: Position | None
    through: Position
    head: Position
    epoch: int


async def append(connection: Connection, requests: Sequence[tuple[Sequence[NewFact], Condition | None]]) -> Appended:
    """Append the facts of all requests that may be, in one transaction.

    No two requests share an id, and no condition forbids a fact of an earlier request: such a request goes into
    the next call. Raises what asyncpg raises; `is_certainly_not_written` tells what that means.
    """
    facts = [fact for facts, _ in requests for fact in facts]
    indexes = [index for index, (facts, _) in enumerate(requests) for _ in facts]
    ids, namespaces, types, versions, _, digests, documents, _ = zip(*facts, strict=True)
    chosen = [(index, fact.id) for index, fact in zip(indexes, facts, strict=True) if fact.chosen_id]
    row = await connection.fetchrow(
        APPEND_FACTS,
        indexes,
        ids,
        namespaces,
        types,
        versions,
        digests,
        documents,
        *posting_arrays(facts),
        *columns(set(zip(namespaces, types, versions, strict=True)), 3),
        *columns(chosen, 2),
        *condition_arrays(requests),
        UNDER_LOCK_VISITS_MAX,
    )
    assert row is not None
    refused = {
        request: Refused(Outcome(outcome), position)
        for request, outcome, position in zip(row["refused"], row["outcomes"], row["positions"], strict=True)
    }
    return Appended(row["head"], row["head_id"], row["epoch"], row["published_at"], refused)


def columns(rows: Collection[tuple[Any, ...]], count: int) -> Sequence[Sequence[Any]]:
    return tuple(zip(*rows, strict=True)) if rows else ((),) * count


def posting_arrays(facts: Sequence[NewFact]) -> tuple[list[str], list[int], list[str | None]]:
    """Each tag of a call, the last place that has it, and how much earlier the others stand; see next_postings."""
    places: dict[str, list[int]] = {}
    for place, fact in enumerate(facts, 1):
        for tag in (*fact.tags, kind_tag(fact.namespace, fact.type)):
            if tag in places:
                places[tag].append(place)
            else:
                places[tag] = [place]
    earlier = [
        None if len(given) == 1 else f"{{{','.join([str(given[-1] - place) for place in given[:-1]])}}}"
        for given in places.values()
    ]
    return list(places), [given[-1] for given in places.values()], earlier


def condition_arrays(
    requests: Sequence[tuple[Sequence[NewFact], Condition | None]],
) -> tuple[list[int], list[int], list[int], list[str], list[str], list[str]]:
    """Request, epoch, after, namespaces, types and tags of each item of each condition."""
    if not any(condition for _, condition in requests):
        return [], [], [], [], [], []
    indexes: list[int] = []
    epochs: list[int] = []
    afters: list[int] = []
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    for index, (_, condition) in enumerate(requests):
        if condition is None:
            continue
        for part, values in zip(parts, query_arrays(condition.fail_if_match), strict=True):
            part.extend(values)
        count = len(condition.fail_if_match.items)
        indexes.extend([index] * count)
        epochs.extend([condition.after.epoch] * count)
        afters.extend([condition.after.position] * count)
    return indexes, epochs, afters, *parts


def is_certainly_not_written(error: Exception) -> bool:
    """Whether the server itself refused the call, and so rolled it back.

    Errors of the connection, and of a server that is going down (class 57P: the commit may have happened while it
    waited for a standby), leave the outcome unknown. https://www.postgresql.org/docs/current/errcodes-appendix.html
    """
    return (
        isinstance(error, asyncpg.PostgresError)
        and not isinstance(error, asyncpg.PostgresConnectionError)
        and not str(error.sqlstate).startswith(("57P", "08"))
    )


async def known_facts(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, KnownFact]:
    rows = await connection.fetch(KNOWN_FACTS, list(ids))
    return {row["id"]: KnownFact(row["position"], row["digest"], row["published_at"], row["epoch"]) for row in rows}


async def first_match(connection: Connection, query: Query, *, after: Position) -> FirstMatch:
    """Search for the first fact that matches, for as long as one call may take."""
    row = await connection.fetchrow(FIRST_MATCH, *query_arrays(query), after, WITHOUT_LOCK_VISITS_MAX)
    assert row is not None
    return FirstMatch(row["position"], row["through"], row["head"], row["epoch"])


async def fact_id_at(connection: Connection, position: Position) -> UUID | None:
    id: UUID | None = await connection.fetchval(FACT_ID_AT, position)
    return id
