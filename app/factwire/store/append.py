"""Append the facts of many requests in one call. alembic/sql/append_v3.sql takes the advisory lock of the log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import asyncpg

from factwire.domain.condition import Condition
from factwire.domain.effect import Effect
from factwire.domain.fact import NewFact, utc
from factwire.domain.position import Position
from factwire.store.append_arguments import (
    NO_NEW_KEYS,
    NO_SEALS,
    array_text,
    condition_texts,
    effects_text,
    fact_texts,
    kind_texts,
    new_key_arrays,
    posting_texts,
    seal_texts,
    single_fact_texts,
)
from factwire.store.connection import Connection
from factwire.store.query_arguments import SEPARATOR

# The order of the log is explained in alembic/sql/append_v3.sql, at the line that makes it.
APPEND_FACTS = """
select head, head_id, epoch, published_at, refused, outcomes, positions, places, erasures
  from factwire.append(
    p_requests => $1::text::integer[],
    p_ids => $2::text::uuid[],
    p_namespaces => string_to_array($3, e'\\x1f'),
    p_types => string_to_array($4, e'\\x1f'),
    p_versions => $5::text::integer[],
    p_digests => $6,
    p_documents => $7,
    p_starts => $8::text::integer[],
    p_lengths => $9::text::integer[],
    p_tags => string_to_array($10, e'\\x1f'),
    p_tag_places => $11::text::integer[],
    p_tag_earlier => string_to_array($12, e'\\x1f', ''),
    p_kind_namespaces => string_to_array($13, e'\\x1f'),
    p_kind_types => string_to_array($14, e'\\x1f'),
    p_kind_versions => $15::text::integer[],
    p_chosen_requests => $16::text::integer[],
    p_chosen_ids => $17::text::uuid[],
    p_condition_requests => $18::text::integer[],
    p_condition_epochs => $19::text::integer[],
    p_condition_afters => $20::text::bigint[],
    p_condition_ids => $21::text::uuid[],
    p_condition_scopes => (string_to_array($22, e'\\x1e'))[2:],
    p_condition_types => (string_to_array($23, e'\\x1e'))[2:],
    p_condition_tags => (string_to_array($24, e'\\x1e'))[2:],
    p_work_max => $25,
    p_condition_seconds => $26,
    p_data_subjects => string_to_array($27, e'\\x1f'),
    p_key_ids => $28::text::uuid[],
    p_seals => $29,
    p_seal_starts => $30::text::integer[],
    p_seal_lengths => $31::text::integer[],
    p_witness_epoch => $32,
    p_witness_position => $33,
    p_witness_id => $34,
    p_new_subjects => $35::text[],
    p_new_key_ids => $36::text::uuid[],
    p_new_wrapped_keys => $37::bytea[],
    p_new_master_keys => $38::text[],
    p_principals => string_to_array($39, e'\\x1f'),
    p_types_max => $40,
    p_namespaces_max => $41,
    p_effects => $42::text::jsonb)
"""

APPEND_PLAIN_FACTS = """
select head, head_id, epoch, published_at, erasures
  from factwire.append_plain(
    p_ids => $1::text::uuid[],
    p_namespaces => string_to_array($2, e'\\x1f'),
    p_types => string_to_array($3, e'\\x1f'),
    p_versions => $4::text::integer[],
    p_digests => $5,
    p_documents => $6,
    p_starts => $7::text::integer[],
    p_lengths => $8::text::integer[],
    p_tags => string_to_array($9, e'\\x1f'),
    p_tag_places => $10::text::integer[],
    p_tag_earlier => string_to_array($11, e'\\x1f', ''),
    p_kind_namespaces => string_to_array($12, e'\\x1f'),
    p_kind_types => string_to_array($13, e'\\x1f'),
    p_kind_versions => $14::text::integer[],
    p_witness_epoch => $15,
    p_witness_position => $16,
    p_witness_id => $17)
"""

LIMIT_TIME = "select set_config('statement_timeout', $1, true)"

FORKED_SQLSTATE = "FW006"

# Limits of all conditions of a call together: in probes, postings and facts (1 to 5 µs each), and in elapsed time.
UNDER_LOCK_WORK_MAX = 20_000
UNDER_LOCK_SECONDS = 0.03


class Refusal(StrEnum):
    """Reason for which append refuses a request; see alembic/sql/append_v3.sql for the meanings."""

    KNOWN = "known"
    FAILED = "failed"
    SLOW = "slow"
    AGAIN = "again"
    FORKED = "forked"
    AHEAD = "ahead"
    ERASED = "erased"
    UNKEYED = "unkeyed"
    LOST = "lost"
    VOID = "void"
    UNLEASED = "unleased"
    EARLY = "early"
    RESTARTED = "restarted"
    TYPES = "types"
    NAMESPACES = "namespaces"


@dataclass(frozen=True, slots=True)
class RefusedRequest:
    """Reason for which a request was not appended.

    `position` is that of the fact that a condition forbids (None if a fact is missing), the head for a bound that is
    ahead of it, or the position up to which a bound of an older epoch would be good. `place` is that of the
    precondition that failed, or at which the search stopped at `position`: all before it hold.
    """

    refusal: Refusal
    position: Position | None
    place: int = 0


class Appended(NamedTuple):
    """Result of one call. The facts of all requests except the refused ones follow `head`, in their order.

    `head` and `head_id` are the last fact before them (None in an empty log). `refused` is keyed by the index of the
    request. `erasures` is the number of erasures and redactions in the log up to then.
    """

    head: Position
    head_id: str | None
    epoch: int
    published_at: str
    refused: Mapping[int, RefusedRequest]
    erasures: int


Requests = Sequence[tuple[Sequence[NewFact], Condition | None]]


class Witness(NamedTuple):
    """Fact seen at a position in an epoch, for fork detection: it is there as long as history is not replaced."""

    epoch: int
    position: Position
    id: str


NO_WITNESS = (None, None, None)


@dataclass(frozen=True, slots=True)
class CatalogueLimits:
    """Maximum number of types in a namespace, and of namespaces that belong to one principal; None for no limit."""

    namespace_types_max: int | None = None
    principal_namespaces_max: int | None = None


NO_LIMITS = CatalogueLimits()
ALONE_SECONDS = 2.0


async def append(
    connection: Connection,
    requests: Requests,
    *,
    witness: Witness | None = None,
    principals: Sequence[str] = (),
    limits: CatalogueLimits = NO_LIMITS,
    effects: Sequence[Sequence[Effect]] = (),
) -> Appended:
    """Append the facts of all requests that are not refused, in one transaction.

    `principals` are their authors, and `effects` those of each request, in order; empty if no request has any.
    No two requests may share an id or an effect that writes, and no condition may forbid a fact of an earlier request:
    such a request belongs in the next call. Raises the errors of asyncpg: `is_certainly_not_written` shows their
    meaning, and `is_forked` is true if nothing was appended because history was replaced, as detected earlier or shown
    by the `witness`.
    """
    facts = [fact for facts, _ in requests for fact in facts]
    if not effects and is_plain(requests):
        appended = await append_plain(connection, facts, witness)
        if appended is not None:
            return appended
    indexes = [index for index, (facts, _) in enumerate(requests) for _ in facts]
    chosen = [(index, fact.id) for index, fact in zip(indexes, facts, strict=True) if fact.chosen_id]
    row = await connection.fetchrow(
        APPEND_FACTS,
        array_text(indexes),
        *fact_texts(facts),
        *posting_texts(facts),
        *kind_texts(facts),
        array_text(index for index, _ in chosen),
        array_text(id for _, id in chosen),
        *condition_texts(requests),
        UNDER_LOCK_WORK_MAX,
        UNDER_LOCK_SECONDS,
        *(seal_texts(facts) if any([fact.data_subject for fact in facts]) else NO_SEALS),
        *(NO_WITNESS if witness is None else witness),
        *(new_key_arrays(facts) if any([fact.new_key for fact in facts]) else NO_NEW_KEYS),
        SEPARATOR.join(principals),
        limits.namespace_types_max,
        limits.principal_namespaces_max,
        effects_text(effects) if effects else None,
    )
    assert row is not None
    return appended_of(row, refused_requests(row, requests))


def is_plain(requests: Requests) -> bool:
    """True if no request can be refused, unless a type of its facts is new."""
    for facts, condition in requests:
        if condition is not None:
            return False
        for fact in facts:
            if fact.chosen_id or fact.data_subject:
                return False
    return True


async def append_plain(connection: Connection, facts: Sequence[NewFact], witness: Witness | None) -> Appended | None:
    """Append facts of plain requests. Returns None, and appends nothing, if the catalogue lacks one of their types."""
    if len(facts) == 1:
        texts = single_fact_texts(facts[0])
    else:
        texts = (*fact_texts(facts), *posting_texts(facts), *kind_texts(facts))
    row = await connection.fetchrow(APPEND_PLAIN_FACTS, *texts, *(NO_WITNESS if witness is None else witness))
    assert row is not None
    return None if row["head"] is None else appended_of(row, {})


def appended_of(row: asyncpg.Record, refused: Mapping[int, RefusedRequest]) -> Appended:
    head_id = row["head_id"]
    return Appended(
        row["head"], head_id and str(head_id), row["epoch"], utc(row["published_at"]), refused, row["erasures"]
    )


def refused_requests(row: asyncpg.Record, requests: Requests) -> dict[int, RefusedRequest]:
    """Refused requests of a call, by index. `place` counts the preconditions of the request."""
    refused = zip(row["refused"], row["outcomes"], row["positions"], row["places"], strict=True)
    return {
        request: RefusedRequest(
            Refusal(outcome), position, 0 if place is None else place - 1 - preconditions_before(requests, request)
        )
        for request, outcome, position, place in refused
    }


def preconditions_before(requests: Requests, request: int) -> int:
    """Total number of preconditions of the requests before `request`."""
    return sum([len(condition.preconditions) for _, condition in requests[:request] if condition is not None])


def is_certainly_not_written(error: Exception) -> bool:
    """True if the server itself refused the call, and so rolled it back.

    Errors of the connection, of a server that shuts down (class 57P: the commit may have happened while it waited for
    a standby), and all that end the session leave the outcome unknown, as does 40003 (statement completion unknown).
    https://www.postgresql.org/docs/current/errcodes-appendix.html
    """
    return (
        isinstance(error, asyncpg.PostgresError)
        and not isinstance(error, asyncpg.PostgresConnectionError)
        and not str(error.sqlstate).startswith(("57P", "08", "40003"))
        and getattr(error, "severity_en", None) not in ("FATAL", "PANIC")
    )


def is_forked(error: Exception) -> bool:
    """True if nothing was appended because history was replaced."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate == FORKED_SQLSTATE


def forked_after_of(error: Exception) -> Position | None:
    """Last position up to which history is the same, as reported by append; None if unknown."""
    detail = getattr(error, "detail", None)
    return Position(int(detail)) if detail else None


async def append_in_time(connection: Connection, requests: Requests, **options: Any) -> Appended:
    """Append with less time than others have: for a request that goes alone, since all others wait for it."""
    async with connection.transaction(isolation="read_committed"):
        await connection.fetchval(LIMIT_TIME, f"{int(ALONE_SECONDS * 1000)}ms")
        return await append(connection, requests, **options)
