"""Reads of the tail: the newest facts with the parts that queries match, and marks that identify the facts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import asyncpg
import msgspec

from factwire.domain.errors import InternalError, LogDamaged
from factwire.domain.fact import PAYLOAD_MARK, fact_tags, utc
from factwire.domain.position import Position
from factwire.store.connection import Connection
from factwire.store.encryption.keys import MasterKeys
from factwire.store.encryption.payloads import UNREADABLE, PayloadDecryptor, read_seals
from factwire.store.rows import required_row

READ_TAIL = """
select l.epoch, l.erasures, l.forked_at is not null as forked, l.forked_after, pg_is_in_recovery() as on_standby,
       t.position, t.published_at, t.id, t.namespace, t.type, t.document
  from factwire.log l
  left join lateral factwire.read_tail($1, $2, $3) t on true
"""

MARKS_AT = "select position, id, published_at from factwire.facts where position = any ($1)"


class Mark(NamedTuple):
    """Identity of a fact. A fact that was lost and published again has the same id, but another time."""

    id: str
    published_at: str


class TailFact(NamedTuple):
    """A stored fact as the tail reads it: like the NewFact that was published, with its position and time.

    If it has a data subject, its payload is still to be added: see `open_tail`.
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

    @property
    def mark(self) -> Mark:
        return Mark(self.id, self.published_at)


@dataclass(frozen=True, slots=True)
class Fork:
    """Replacement of history after a position; None if the position is unknown."""

    after: Position | None


@dataclass(frozen=True, slots=True)
class TailRead:
    """Result of one read of the tail: the epoch, the number of erasures and redactions, a detected fork, and facts."""

    epoch: int
    erasures: int
    fork: Fork | None
    on_standby: bool
    facts: Sequence[TailFact]

    def is_behind(self, mark: Mark | None, *, epoch: int) -> bool:
        """True if a standby has yet to receive history that was seen elsewhere, or before it was restarted."""
        return self.on_standby and (self.epoch < epoch or (mark is not None and not self.facts))

    def continues(self, mark: Mark | None) -> bool:
        """True if the fact at the last position is still the one that was seen there.

        After a fail-over that lost commits, or a restore, positions are used again for other facts. The position alone
        would not show it, and a stream would continue in a history of which its client has not seen the beginning. Nor
        would the id alone: a publish in doubt that is retried after a fail-over may find its old position free, after
        other facts.
        """
        return mark is None or (len(self.facts) > 0 and self.facts[0].mark == mark)


class KnownParts(msgspec.Struct):
    """Parts of a document that give its tags and its data subject."""

    aggregate_ids: list[str]
    meta: dict[str, str | list[str]]
    data_subject: str = ""

    @property
    def tags(self) -> tuple[str, ...]:
        return fact_tags(self.aggregate_ids, self.meta)


KNOWN_PARTS = msgspec.json.Decoder(KnownParts)
UNKNOWN_PARTS = KnownParts([], {})


async def read_tail(connection: Connection, *, anchor: Position, facts_max: int, bytes_max: int) -> TailRead:
    """Read the facts from the anchor on, the one at the anchor included, up to the first that is missing.

    Raises LogDamaged if that leaves no new fact.
    """
    rows = await connection.fetch(READ_TAIL, anchor, facts_max, bytes_max)
    facts = [tail_fact(row) for row in rows if row["position"] is not None]
    for place, (before, fact) in enumerate(pairwise(facts), 1):
        if fact.position != before.position + 1:
            if before.position == anchor:
                raise LogDamaged(f"The fact at position {anchor + 1} is missing.")
            facts = facts[:place]
            break
    log = required_row(next(iter(rows), None))
    fork = Fork(log["forked_after"]) if log["forked"] else None
    return TailRead(log["epoch"], log["erasures"], fork, log["on_standby"], facts)


def tail_fact(row: asyncpg.Record) -> TailFact:
    """Convert a stored row; a fact with a document that cannot be parsed is marked as unreadable and has no tags."""
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
    """Parse a document from `"id"` on. Raises ValueError if it is not the document of a fact."""
    # The payload is not decoded: it may contain text that the decoder refuses, such as a lone surrogate.
    return KNOWN_PARTS.decode(b"{%b}}" % document[: document.index(PAYLOAD_MARK)])


async def open_tail(
    connection: Connection, facts: Sequence[TailFact], *, bytes_max: int, master_keys: MasterKeys
) -> Sequence[TailFact]:
    """Add the decrypted payloads to the facts, up to the first that does not fit. Raises KeyUnavailable."""
    positions = [fact.position for fact in facts if fact.data_subject]
    if not positions:
        return facts
    seals = await read_seals(connection, positions, bytes_max=bytes_max)
    opener = PayloadDecryptor(master_keys)
    ready: list[TailFact] = []
    for fact in facts:
        seal = seals.get(fact.position)
        if fact.data_subject and seal is None:
            if fact.position < max(seals, default=fact.position + 1):
                raise InternalError(f"The seal of position {fact.position} is gone: run `factwire verify`.")
            break
        ready.append(fact._replace(document=opener.opened(fact.document, fact.id, fact.position, seal)))
    return ready


async def read_marks(connection: Connection, positions: Sequence[Position]) -> list[tuple[Position, Mark]]:
    """Marks of the facts at some positions; positions without a fact are left out."""
    rows = await connection.fetch(MARKS_AT, list(positions))
    return [(row["position"], Mark(str(row["id"]), utc(row["published_at"]))) for row in rows]
