"""Appending: the facts of many requests in one call, each with an outcome of its own."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import NamedTuple

import asyncpg

from factwire.domain.condition import Condition
from factwire.domain.errors import HistoryForked
from factwire.domain.fact import IN, NewFact, kind_lists, utc
from factwire.domain.position import Position
from factwire.store.pools import Connection
from factwire.store.query_arguments import SEPARATOR, item_texts

# How the order of the log comes about is explained in alembic/sql/append_v1.sql, at the line that makes it.
# Lists travel as text, and are split by the server: of the elements of an array asyncpg asks one by one what they are,
# which costs more than all else that is done with them. U+001F and U+001E stand in no name, id or value.
APPEND_FACTS = """
select head, head_id, epoch, published_at, refused, outcomes, positions, places, erasures
  from factwire.append(
    $1::text::integer[],
    $2::text::uuid[],
    string_to_array($3, e'\\x1f'),
    string_to_array($4, e'\\x1f'),
    $5::text::integer[],
    $6,
    $7,
    $8::text::integer[],
    $9::text::integer[],
    string_to_array($10, e'\\x1f'),
    $11::text::integer[],
    string_to_array($12, e'\\x1f', ''),
    string_to_array($13, e'\\x1f'),
    string_to_array($14, e'\\x1f'),
    $15::text::integer[],
    $16::text::integer[],
    $17::text::uuid[],
    $18::text::integer[],
    $19::text::integer[],
    $20::text::bigint[],
    $21::text::uuid[],
    (string_to_array($22, e'\\x1e'))[2:],
    (string_to_array($23, e'\\x1e'))[2:],
    (string_to_array($24, e'\\x1e'))[2:],
    $25,
    $26,
    string_to_array($27, e'\\x1f'),
    $28::text::uuid[],
    $29,
    $30::text::integer[],
    $31::text::integer[],
    $32,
    $33,
    $34,
    $35::text[],
    $36::text::uuid[],
    $37::bytea[],
    $38::text[],
    string_to_array($39, e'\\x1f'),
    $40,
    $41)
"""

KNOWN_FACTS = """
select k.id, k.position, k.digest, f.published_at, l.epoch, r.position is not null as redacted,
       l.forked_at is not null as forked, l.forked_after
  from factwire.log l
  join factwire.fact_ids k on k.id = any ($1)
  left join factwire.facts f on f.position = k.position
  left join factwire.redactions r on r.position = k.position
"""

WAIT_FOR_STANDBY = "select factwire.wait_for_standby()"

LIMIT_TIME = "select set_config('statement_timeout', $1, true)"

FACT_ID_AT = "select id from factwire.facts where position = $1"

NO_SEALS = ("", "{}", b"", "{}", "{}")
NO_NEW_KEYS = (None, "{}", None, None)

FORKED_SQLSTATE = "FW006"

# Of all conditions of a call together, in probes, postings and facts (of 1 to 5 µs each), and by the clock.
UNDER_LOCK_WORK_MAX = 20_000
UNDER_LOCK_SECONDS = 0.03


class Refusal(StrEnum):
    """Why append refuses a request; the meanings stand there."""

    KNOWN = "known"
    FAILED = "failed"
    SLOW = "slow"
    AGAIN = "again"
    FORKED = "forked"
    AHEAD = "ahead"
    ERASED = "erased"
    UNKEYED = "unkeyed"
    RESTARTED = "restarted"
    TYPES = "types"
    NAMESPACES = "namespaces"


@dataclass(frozen=True, slots=True)
class RefusedRequest:
    """Why a request was not appended. `position` is that of a forbidden fact, or the head.

    Where the search of its condition goes on, it stopped at `position` of one item: those before it match nothing.
    """

    refusal: Refusal
    position: Position | None
    item: int = 0


@dataclass(frozen=True, slots=True)
class Appended:
    """What one call did. The facts of all requests but the refused ones stand behind `head`, in their order.

    `head` and `head_id` are the last fact before them (None in an empty log). `refused` has the index of the request.
    `erasures` is how often something had been erased or redacted by then.
    """

    head: Position
    head_id: str | None
    epoch: int
    published_at: str
    refused: Mapping[int, RefusedRequest]
    erasures: int


class Witness(NamedTuple):
    """A fact that was seen at a position, in an epoch: it is there for as long as history is not replaced."""

    epoch: int
    position: Position
    id: str


NO_WITNESS = (None, None, None)


@dataclass(frozen=True, slots=True)
class KnownFact:
    """A fact whose id is stored already. `published_at` is None where the fact itself was archived."""

    position: Position
    digest: bytes
    published_at: str | None
    epoch: int
    redacted: bool


@dataclass(frozen=True, slots=True)
class CatalogueLimits:
    """How many types one namespace may have, and how many namespaces may be one principal's; None for no limit."""

    namespace_types_max: int | None = None
    principal_namespaces_max: int | None = None


NO_LIMITS = CatalogueLimits()


async def append(
    connection: Connection,
    requests: Sequence[tuple[Sequence[NewFact], Condition | None]],
    *,
    witness: Witness | None = None,
    principals: Sequence[str] = (),
    limits: CatalogueLimits = NO_LIMITS,
) -> Appended:
    """Append the facts of all requests that may be, in one transaction. `principals` are who the requests are of.

    No two requests share an id, and no condition forbids a fact of an earlier request: such a request goes into
    the next call. Raises what asyncpg raises; `is_certainly_not_written` tells what that means, and `is_forked` whether
    nothing was appended because history was replaced, by what somebody has noticed or the `witness` shows.
    """
    facts = [fact for facts, _ in requests for fact in facts]
    indexes = [index for index, (facts, _) in enumerate(requests) for _ in facts]
    namespaces = [fact.namespace for fact in facts]
    types = [fact.type for fact in facts]
    versions = [fact.version for fact in facts]
    kinds = list(set(zip(namespaces, types, versions, strict=True)))
    chosen = [(index, fact.id) for index, fact in zip(indexes, facts, strict=True) if fact.chosen_id]
    lengths = [len(fact.document) for fact in facts]
    row = await connection.fetchrow(
        APPEND_FACTS,
        array_text(indexes),
        f"{{{','.join([fact.id for fact in facts])}}}",
        SEPARATOR.join(namespaces),
        SEPARATOR.join(types),
        array_text(versions),
        b"".join([fact.digest for fact in facts]),
        b"".join([fact.document for fact in facts]),
        array_text(accumulate(lengths[:-1], initial=1)),
        array_text(lengths),
        *posting_texts(facts),
        SEPARATOR.join([namespace for namespace, _, _ in kinds]),
        SEPARATOR.join([type for _, type, _ in kinds]),
        array_text(version for _, _, version in kinds),
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
    )
    assert row is not None
    return Appended(
        row["head"],
        row["head_id"] and str(row["head_id"]),
        row["epoch"],
        utc(row["published_at"]),
        refused_requests(row, requests),
        row["erasures"],
    )


def refused_requests(
    row: asyncpg.Record, requests: Sequence[tuple[Sequence[NewFact], Condition | None]]
) -> dict[int, RefusedRequest]:
    """The refused requests of a call, by index. `place` is that of an item within the request's condition."""
    refused = zip(row["refused"], row["outcomes"], row["positions"], row["places"], strict=True)
    return {
        request: RefusedRequest(
            Refusal(outcome), position, 0 if place is None else place - 1 - items_before(requests, request)
        )
        for request, outcome, position, place in refused
    }


def items_before(requests: Sequence[tuple[Sequence[NewFact], Condition | None]], request: int) -> int:
    """How many items the conditions of the requests before one have together."""
    return sum([len(condition.fail_if_match.items) for _, condition in requests[:request] if condition is not None])


def array_text(values: Iterable[object]) -> str:
    """Values that need no quotes, as PostgreSQL reads an array."""
    return f"{{{','.join(map(str, values))}}}"


def posting_texts(facts: Sequence[NewFact]) -> tuple[str, str, str]:
    """Each posting list of a call, the last place in it, and how much earlier the others stand; see next_postings."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    kinds: defaultdict[tuple[str, str], list[int]] = defaultdict(list)  # facts share theirs, and so several lists
    for place, fact in enumerate(facts, 1):
        suffix = IN + fact.namespace
        for tag in fact.tags:
            places[tag + suffix].append(place)
        kinds[fact.namespace, fact.type].append(place)
    for kind, of_kind in kinds.items():
        for key in kind_lists(*kind):
            places[key] += of_kind
    earlier = []
    for given in places.values():
        given.sort()  # those of several kinds
        earlier.append(array_text([given[-1] - place for place in given[:-1]]) if len(given) > 1 else "")
    return SEPARATOR.join(places), array_text([given[-1] for given in places.values()]), SEPARATOR.join(earlier)


def seal_texts(facts: Sequence[NewFact]) -> tuple[str, str, bytes, str, str]:
    """Of each fact its data subject, the key of its seal, and where that stands among all seals."""
    # A payload that nobody has sealed must not reach the database.
    assert all(bool(fact.data_subject) == bool(fact.seal) for fact in facts)
    lengths = [len(fact.seal) for fact in facts]
    return (
        SEPARATOR.join([fact.data_subject for fact in facts]),
        array_text(fact.key_id or "null" for fact in facts),
        b"".join([fact.seal for fact in facts]),
        array_text(accumulate(lengths[:-1], initial=1)),
        array_text(lengths),
    )


def new_key_arrays(facts: Sequence[NewFact]) -> tuple[list[str], str, list[bytes], list[str]]:
    """The keys that are stored with their first facts: data subject, id, the key itself, its master key."""
    new = {fact.key_id: (fact.data_subject, *fact.new_key) for fact in facts if fact.new_key}
    data_subjects, wrapped, masters = zip(*new.values(), strict=True)
    return list(data_subjects), array_text(new), list(wrapped), list(masters)


def condition_texts(
    requests: Sequence[tuple[Sequence[NewFact], Condition | None]],
) -> tuple[str, str, str, str, str, str, str]:
    """Request, epoch, after, the id of the fact there if it was searched up to it, and the parts of each item."""
    conditions = [(index, condition) for index, (_, condition) in enumerate(requests) if condition is not None]
    if not conditions:
        return "{}", "{}", "{}", "{}", "", "", ""
    items = [
        (index, *_after(condition, place), *item_texts(item))
        for index, condition in conditions
        for place, item in enumerate(condition.fail_if_match.items)
    ]
    indexes, epochs, afters, ids, *texts = zip(*items, strict=True)
    # A part may be empty, and a list of one empty text would read as an empty list: hence the separator before each.
    namespaces, types, tags = ("".join([f"\x1e{text}" for text in part]) for part in texts)
    return array_text(indexes), array_text(epochs), array_text(afters), array_text(ids), namespaces, types, tags


def _after(condition: Condition, place: int) -> tuple[int, Position, str]:
    searched = condition.searched[place] if condition.searched else None
    if searched is None:
        return condition.after.epoch, condition.after.position, "null"
    return searched.epoch, searched.position, searched.id or "null"


def is_certainly_not_written(error: Exception) -> bool:
    """Whether the server itself refused the call, and so rolled it back.

    Errors of the connection, of a server that is going down (class 57P: the commit may have happened while it waited
    for a standby), and all that end the session leave the outcome unknown, as 40003 says of itself.
    https://www.postgresql.org/docs/current/errcodes-appendix.html
    """
    return (
        isinstance(error, asyncpg.PostgresError)
        and not isinstance(error, asyncpg.PostgresConnectionError)
        and not str(error.sqlstate).startswith(("57P", "08", "40003"))
        and getattr(error, "severity_en", None) not in ("FATAL", "PANIC")
    )


def is_forked(error: Exception) -> bool:
    """Whether nothing was appended because history was replaced."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate == FORKED_SQLSTATE


def forked_after_of(error: Exception) -> Position | None:
    """Up to where history is the same, by what append says; None where it does not know."""
    detail = getattr(error, "detail", None)
    return Position(int(detail)) if detail else None


async def limit_time(connection: Connection, *, seconds: float) -> None:
    """Give each statement of this transaction only so much time."""
    await connection.fetchval(LIMIT_TIME, f"{int(seconds * 1000)}ms")


async def known_facts(connection: Connection, ids: Sequence[str]) -> dict[str, KnownFact]:
    """The facts that are stored under some ids. Raises HistoryForked where somebody has noticed a fork."""
    rows = await connection.fetch(KNOWN_FACTS, list(ids))
    if any(row["forked"] for row in rows):
        raise HistoryForked(forked_after=rows[0]["forked_after"])
    return {
        str(row["id"]): KnownFact(
            row["position"],
            row["digest"],
            row["published_at"] and utc(row["published_at"]),
            row["epoch"],
            row["redacted"],
        )
        for row in rows
    }


async def wait_for_standby(connection: Connection) -> None:
    """Wait for the synchronous standby to have all that is committed, where there is one."""
    await connection.fetchval(WAIT_FOR_STANDBY)


async def fact_id_at(connection: Connection, position: Position) -> str | None:
    id = await connection.fetchval(FACT_ID_AT, position)
    return None if id is None else str(id)
