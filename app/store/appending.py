"""Appending: the facts of many requests in one call, each with an outcome of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import asyncpg

from app.domain.condition import Condition
from app.domain.fact import NewFact
from app.domain.position import Position
from app.domain.query import Query
from app.store.database import Connection
from app.store.matching import SEPARATOR, query_arrays

# How the order of the log comes about stands in alembic/sql/append_facts_v1.sql, at the line that makes it.
APPEND_FACTS = """
select request, outcome, position, epoch, published_at
  from factwire.append_facts($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
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
    """What append_facts says of a request; the meanings stand there."""

    APPENDED = "appended"
    KNOWN = "known"
    FAILED = "failed"
    SLOW = "slow"
    AGAIN = "again"
    FORKED = "forked"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True)
class Appended:
    """The outcome of one request. `position` is that of its first fact, of a forbidden fact, or the head."""

    outcome: Outcome
    position: Position | None
    epoch: int
    published_at: datetime | None


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


async def append(
    connection: Connection, requests: Sequence[tuple[Sequence[NewFact], Condition | None]]
) -> dict[int, Appended]:
    """Append the facts of all requests that may be, in one transaction. Outcomes are keyed by the request's index.

    No two requests share an id, and no condition forbids a fact of an earlier request: such a request goes into
    the next call. Raises what asyncpg raises; `is_certainly_not_written` tells what that means.
    """
    facts = [(index, fact) for index, (facts, _) in enumerate(requests) for fact in facts]
    rows = await connection.fetch(
        APPEND_FACTS,
        [index for index, _ in facts],
        [fact.id for _, fact in facts],
        [fact.namespace for _, fact in facts],
        [fact.type for _, fact in facts],
        [fact.version for _, fact in facts],
        [SEPARATOR.join(fact.tags) for _, fact in facts],
        [fact.digest for _, fact in facts],
        [fact.document for _, fact in facts],
        *condition_arrays(requests),
        UNDER_LOCK_VISITS_MAX,
    )
    return {
        row["request"]: Appended(Outcome(row["outcome"]), row["position"], row["epoch"], row["published_at"])
        for row in rows
    }


def condition_arrays(
    requests: Sequence[tuple[Sequence[NewFact], Condition | None]],
) -> tuple[list[int], list[int], list[int], list[str], list[str], list[str]]:
    """Request, epoch, after, namespaces, types and tags of each item of each condition."""
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
