"""Verification that the log is still as it was appended, apart from erasures and redactions on record."""

import hmac
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import asyncpg
import msgspec
from cryptography.exceptions import InvalidTag

from factwire.domain.errors import FactwireError, KeyUnavailable
from factwire.domain.fact import CONTENT_AT, posting_lists, split_document, utc
from factwire.domain.position import START, Position
from factwire.store.connection import Connection
from factwire.store.encryption.keys import MasterKeys, decrypt
from factwire.store.encryption.payloads import (
    MAC_BYTES,
    WITHOUT_PAYLOAD,
    PayloadDecryptor,
    Seal,
    keyed_digest,
    sealed_digest,
    stored_key,
)
from factwire.store.erasure import DATA_SUBJECT_ERASED, read_erasures
from factwire.store.read_tail import KnownParts, known_parts
from factwire.store.verification.chain import ChainWalk, Flaw

FACTS_AT_ONCE = 500
BYTES_AT_ONCE = 4 * 1024 * 1024

# A plan that was made before the tables had grown would read whole tables for each page.
PIN_PLANS = """
set enable_seqscan = off;
set enable_hashjoin = off;
set enable_mergejoin = off;
set jit = off
"""
RELEASE_PLANS = "reset enable_seqscan; reset enable_hashjoin; reset enable_mergejoin; reset jit"

# End of a page of so many bytes. Facts may be missing here, which reads of history do not accept.
THROUGH = """
select max(s.position)
  from (select f.position,
               sum(octet_length(f.document) + coalesce(octet_length(d.seal), 0)) over (order by f.position) as bytes
          from factwire.facts f
          left join factwire.sealed d on d.position = f.position
         where f.position > $1::bigint and f.position <= least($2::bigint, $1::bigint + $3)
         order by f.position) s
 where s.bytes <= $4
"""

# One statement, so that a fact and the records about it are of one snapshot. A position without a fact has a row.
STORED_FACTS = """
select p.position, f.id, f.published_at, f.namespace, f.type, f.version, f.document,
       k.position as known_at, k.digest, r.position is not null as redacted,
       s.data_subject, s.seal, d.key_id, d.wrapped_key, d.master_key, d.erased_at is not null as erased
  from generate_series($1::bigint + 1, $2::bigint) p (position)
  left join factwire.facts f on f.position = p.position
  left join factwire.fact_ids k on k.id = f.id
  left join factwire.redactions r on r.position = p.position
  left join factwire.sealed s on s.position = p.position
  left join factwire.data_subjects d on d.id = s.data_subject
 order by p.position
"""

# A row also stands for earlier facts of the same append: at most 999 positions before it.
POSTINGS_OF_PAGE = """
select p.tag, p.position, p.earlier
  from unnest($1::text[]) t (tag)
 cross join lateral (
         select r.tag, r.position, r.earlier
           from factwire.fact_tags r
          where r.tag = t.tag and r.position > $2::bigint and r.position < $3::bigint + 1000) p
"""

POSTINGS = """
select count(*) + coalesce(sum(cardinality(earlier)), 0) from factwire.fact_tags where position <= $1
"""

EACH_POSTING = """
select t.tag, t.position - b.back as position
  from factwire.fact_tags t
 cross join lateral (select 0 union all select unnest(t.earlier)::integer) b (back)
 where t.position <= $1
"""

# The reader of the flaws may be slow: the transaction holds nothing that others wait for.
MAY_IDLE = "set local idle_in_transaction_session_timeout = 0"

DOCUMENTS = "select position, namespace, type, document from factwire.facts where position = any ($1)"

IDS_WITHOUT_FACT = """
select k.position, k.id
  from factwire.fact_ids k
 where k.position <= $1
   and not exists (select from factwire.facts f where f.position = k.position and f.id = k.id)
 order by k.position
"""

KINDS = "select namespace, type, version from factwire.types"


@dataclass(slots=True)
class RecordedChanges:
    """Erasures and redactions found, each with a position: facts of the reserved namespace must record them.

    `left` has the id of each redacted fact, and the digest of its remaining part.
    """

    erased: dict[str, Position] = field(default_factory=dict)
    left: dict[str, tuple[Position, str]] = field(default_factory=dict)


@dataclass(slots=True)
class VerifiedCounts:
    """Counts of the facts, unopened seals and tags seen on the way, and the kinds of these facts."""

    facts: int = 0
    sealed_unopened: int = 0
    tags: int = 0
    kinds: set[tuple[str, str, int]] = field(default_factory=set)


class Verifier:
    """Comparison of each fact with its digest, its columns, its postings and the hash chain.

    It cannot detect a log that was rewritten as a whole, its chain included, or cut at its end: for that a hash of the
    chain must be kept elsewhere.
    """

    def __init__(self, connection: Connection, master_keys: MasterKeys) -> None:
        self._connection = connection
        self._opener = PayloadDecryptor(master_keys)
        self._master_keys = master_keys
        self._recorded_changes = RecordedChanges()
        self.seen = VerifiedCounts()
        self.chain = ChainWalk(connection)

    async def run(self, *, after: Position, until: Position) -> AsyncIterator[Flaw | Position]:
        """Yield each flaw, and after each page its last position."""
        await self._connection.execute(PIN_PLANS)
        await self.chain.begin(after=after)
        cursor = after
        while cursor < until:
            through = await self._end_of_page(cursor, until)
            try:
                async for flaw in self._flaws_between(cursor, through):
                    yield flaw
            except asyncpg.InternalServerError as error:  # a damaged page of a file, for example
                yield Flaw(Position(cursor + 1), f"facts up to {through} cannot be read: {error}")
            cursor = through
            yield cursor
        for flaw in (*await self.chain.end(until=until), *await self._unrecorded()):
            yield flaw
        await self._connection.execute(RELEASE_PLANS)
        if after == START:
            async for flaw in self._what_is_too_much(until):
                yield flaw

    async def _end_of_page(self, after: Position, until: Position) -> Position:
        try:
            through = await self._connection.fetchval(THROUGH, after, until, FACTS_AT_ONCE, BYTES_AT_ONCE)
        except asyncpg.InternalServerError:
            through = None
        return Position(max(through or 0, after + 1))

    async def _flaws_between(self, after: Position, through: Position) -> AsyncIterator[Flaw]:
        rows = await self._connection.fetch(STORED_FACTS, after, through)
        for row in rows:
            for what in self._flaws_of(row):
                yield Flaw(row["position"], what)
            for flaw in await self.chain.visit(row["position"], row["id"], row["published_at"], row["digest"]):
                yield flaw
        for flaw in await self._posting_flaws([row for row in rows if row["id"] is not None], after, through):
            yield flaw

    def _flaws_of(self, row: asyncpg.Record) -> Iterator[str]:
        if row["id"] is None:
            yield "the fact is missing"
            return
        self.seen.facts += 1
        self.seen.kinds.add((row["namespace"], row["type"], row["version"]))
        start = next((start for start in document_starts(row) if row["document"].startswith(start)), None)
        if start is None:
            yield (
                "position, time, id, namespace, type or version are not those of the stored document"
                if is_fact(row["document"])
                else "the stored document cannot be read: the fact is sent without its payload"
            )
            return
        if row["known_at"] != row["position"]:
            yield "the id is not kept with this position"
        document = row["document"][start.index(b'"id":') :]
        yield from self._content_flaws(row, document)

    def _content_flaws(self, row: asyncpg.Record, document: bytes) -> Iterator[str]:
        parts = parts_of(document)
        data_subject = "" if parts is None else parts.data_subject
        if parts is None or not document.endswith(b"}"):
            yield "the stored document is not a fact"
        elif data_subject != (row["data_subject"] or ""):
            yield "the document and the seal are not of the same data subject"
        elif row["redacted"]:
            yield from self._redaction_flaws(row, document)
        elif row["data_subject"] is None:
            if sha256(document[CONTENT_AT:-1]).digest() != row["digest"]:
                yield "the content is not that of its digest"
        else:
            yield from self._seal_flaws(row, document, seal_of(row))

    def _redaction_flaws(self, row: asyncpg.Record, document: bytes) -> Iterator[str]:
        self._recorded_changes.left[str(row["id"])] = row["position"], sha256(document[CONTENT_AT:-1]).hexdigest()
        if row["data_subject"] is not None:
            before = split_document(document)[0] + WITHOUT_PAYLOAD
            if sealed_digest(before, seal_of(row).mac) != row["digest"]:
                yield "the content is not that of its digest"

    def _seal_flaws(self, row: asyncpg.Record, document: bytes, seal: Seal) -> Iterator[str]:
        if sealed_digest(document, seal.mac) != row["digest"]:
            yield "the content is not that of its digest"
        elif seal.erased:
            self._recorded_changes.erased.setdefault(seal.data_subject, row["position"])
        elif not self._master_keys:
            self.seen.sealed_unopened += 1
        else:
            yield from self._payload_flaws(document, str(row["id"]), seal)

    def _payload_flaws(self, document: bytes, id: str, seal: Seal) -> Iterator[str]:
        try:
            key = self._opener.key_of(seal)
            payload = decrypt(key.encrypting, seal.content[MAC_BYTES:], id.encode())
        except KeyUnavailable:
            self.seen.sealed_unopened += 1
            return
        except (FactwireError, InvalidTag):
            yield "the sealed payload or its key was changed"
            return
        whole = document[: -len(WITHOUT_PAYLOAD)] + payload + b"}"
        if not hmac.compare_digest(keyed_digest(whole, key), seal.mac):
            yield "the sealed payload is not that of its digest"

    async def _unrecorded(self) -> list[Flaw]:
        """Erasures and redactions without a fact that records them. Such facts are read last, to miss none of them."""
        erased, left = dict(self._recorded_changes.erased), dict(self._recorded_changes.left)
        flaws = []
        async for recorded in self._audit_facts():
            payload = recorded["payload"]
            if recorded["type"] == DATA_SUBJECT_ERASED:
                erased.pop(str(payload.get("data_subject")), None)
            elif (found := left.pop(str(payload.get("id")), None)) is not None and found[1] != payload.get("digest"):
                flaws.append(Flaw(found[0], "the rest of a redacted fact was changed"))
        flaws += [
            Flaw(at, f"the data subject {each} was erased, and no fact records it") for each, at in erased.items()
        ]
        flaws += [Flaw(at, "the payload was redacted, and no fact records it") for at, _ in left.values()]
        return flaws

    async def _audit_facts(self) -> AsyncIterator[dict[str, Any]]:
        """Facts that record erasures and redactions, as far as they can be read."""
        try:
            async for line in read_erasures(self._connection):
                recorded = json.loads(line)
                if isinstance(recorded.get("payload"), dict):
                    yield recorded
        except (asyncpg.PostgresError, ValueError):
            return

    async def _posting_flaws(self, rows: Sequence[asyncpg.Record], after: Position, through: Position) -> list[Flaw]:
        own = {(tag, row["position"]) for row in rows for tag in tags_of(row)}
        self.seen.tags += len(own)
        tags = list({tag for tag, _ in own})
        postings = await self._connection.fetch(POSTINGS_OF_PAGE, tags, after, through)
        found = {
            (row["tag"], row["position"] - back)
            for row in postings
            for back in (0, *(row["earlier"] or ()))
            if row["position"] - back <= through
        }
        return [Flaw(position, f"it is not found by {tag}") for tag, position in sorted(own - found)]

    async def _what_is_too_much(self, until: Position) -> AsyncIterator[Flaw]:
        """Records that no fact accounts for: reported only if all facts were seen."""
        for row in await self._connection.fetch(IDS_WITHOUT_FACT, until):
            yield Flaw(row["position"], f"the id {row['id']} is kept for a fact that is not there")
        kinds = {tuple(row) for row in await self._connection.fetch(KINDS)}
        for namespace, type, version in sorted(self.seen.kinds - kinds):
            yield Flaw(None, f"the catalogue lacks {namespace}/{type}, version {version}")
        if await self._connection.fetchval(POSTINGS, until) > self.seen.tags:
            async for flaw in self._foreign_postings(until):
                yield flaw

    async def _foreign_postings(self, until: Position) -> AsyncIterator[Flaw]:
        """Postings that no fact accounts for. Reads every posting, and so runs only if there are too many."""
        async with self._connection.transaction(readonly=True):
            await self._connection.execute(MAY_IDLE)
            cursor = await self._connection.cursor(EACH_POSTING, until)
            while postings := await cursor.fetch(FACTS_AT_ONCE):
                rows = await self._connection.fetch(DOCUMENTS, [row["position"] for row in postings])
                own = {(tag, row["position"]) for row in rows for tag in tags_of(row)}
                for posting in postings:
                    if (posting["tag"], posting["position"]) not in own:
                        yield Flaw(posting["position"], f"it is found by {posting['tag']}, which it does not have")


def document_starts(row: asyncpg.Record) -> Iterator[bytes]:
    """Beginnings of a stored document with these columns: two forms are possible, see fact_json in alembic/sql."""
    position, published_at = row["position"], utc(row["published_at"])
    json_start = (
        f'{{"position":{position},"published_at":"{published_at}","id":"{row["id"]}",'
        f'"namespace":"{row["namespace"]}","type":"{row["type"]}","version":{row["version"]},'
    )
    yield f"{position - 1}\n\ndata: {json_start}".encode()
    yield f"{position}\ndata: {json_start}".encode()


def is_fact(document: bytes) -> bool:
    """True if a stored document contains the JSON of a fact."""
    return document.endswith(b"}") and b'"id":' in document and parts_of(document_from_id(document)) is not None


def document_from_id(document: bytes) -> bytes:
    return b'"id":' + document.partition(b'"id":')[2]


def seal_of(row: asyncpg.Record) -> Seal:
    return Seal(
        row["data_subject"],
        row["seal"],
        None if row["key_id"] is None else stored_key(row),
        bool(row["erased"]),
    )


def parts_of(document: bytes) -> KnownParts | None:
    try:
        return known_parts(document)
    except (ValueError, msgspec.MsgspecError):
        return None


def tags_of(row: asyncpg.Record) -> Sequence[str]:
    parts = parts_of(document_from_id(row["document"]))
    return posting_lists(row["namespace"], row["type"], () if parts is None else parts.tags)
