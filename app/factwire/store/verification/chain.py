"""Hash chain: one entry per append, a hash over the entry before it, its positions, time, ids and digests."""

import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

from factwire.domain.fact import utc
from factwire.domain.position import START, Position
from factwire.store.connection import Connection

READ_ENTRIES = """
select first_position, last_position, published_at, hash
  from factwire.chain
 where last_position > $1
 order by last_position
 limit $2
"""

ENTRY_ENDING_AT = "select hash from factwire.chain where last_position = $1"

BEYOND_HEAD = "select max(last_position) from factwire.chain where last_position > factwire.head()"

HASH_BEFORE = """
select hash from factwire.chain where last_position < $1 order by last_position desc limit 1
"""

ENTRIES_AT_ONCE = 500
POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
UUID_TYPE = 2950


@dataclass(frozen=True, slots=True)
class Flaw:
    """Description of a flaw, and its position; None if it concerns the whole log."""

    position: Position | None
    what: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One append, as recorded in the hash chain."""

    first: Position
    last: Position
    published_at: datetime
    hash: bytes


@dataclass(slots=True)
class ChainDigest:
    """The facts of one entry of the hash chain, collected to be compared with it."""

    ids: list[UUID] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)

    def add(self, id: UUID, digest: bytes) -> None:
        self.ids.append(id)
        self.digests.append(digest)

    def is_that_of(self, entry: Entry, *, previous: bytes) -> bool:
        """True if these facts, after that hash, make the entry. Hashes the same bytes as append does."""
        ids = [struct.pack(">i16s", 16, id.bytes) for id in self.ids]
        return entry.hash == (
            sha256(
                b"".join(
                    (
                        previous,
                        struct.pack(">qq", entry.first, entry.last),
                        struct.pack(">q", (entry.published_at - POSTGRES_EPOCH) // timedelta(microseconds=1)),
                        struct.pack(">iiIii", 1, 0, UUID_TYPE, len(ids), 1),
                        *ids,
                        *self.digests,
                    )
                )
            ).digest()
        )


class ChainWalk:
    """Walk along the hash chain, fact by fact. `began_at` is its first position, `last` the last entry it passed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._entries = read_entries(connection, after=START)
        self._entry: Entry | None = None
        self._previous = b""
        self._link: ChainDigest | None = None
        self.began_at: Position | None = None
        self.last: Entry | None = None

    async def begin(self, *, after: Position) -> None:
        self._entries = read_entries(self._connection, after=after)
        self._entry = entry = await anext(self._entries, None)
        if entry is not None:
            self._previous = await read_hash_before(self._connection, entry.last)
            self.began_at = max(entry.first, Position(after + 1))
            # An entry that begins before the verified range cannot be compared.
            self._link = ChainDigest() if entry.first > after else None

    async def visit(
        self, position: Position, id: UUID | None, published_at: datetime | None, digest: bytes | None
    ) -> list[Flaw]:
        """Check the next fact. If it is missing, only its position is given."""
        entry = self._entry
        if entry is None or position < entry.first:
            return [Flaw(position, "no entry of the chain includes it")] if self.last is not None else []
        flaws = []
        if published_at is not None and published_at != entry.published_at:
            flaws.append(Flaw(position, f"its time is not {utc(entry.published_at)}, as in the chain"))
        if id is None or digest is None:
            self._link = None  # already reported as missing
        elif self._link is not None:
            self._link.add(id, digest)
        if position == entry.last:
            flaws += await self._compare_entry(entry)
        return flaws

    async def end(self, *, until: Position) -> list[Flaw]:
        """Check, after the last fact, for entries of the chain without facts."""
        flaws = []
        if self._entry is not None and self._entry.last <= until:
            flaws.append(Flaw(self._entry.last, "the chain and the facts do not end together"))
        beyond = await self._connection.fetchval(BEYOND_HEAD)
        if beyond is not None:
            flaws.append(Flaw(beyond, "the chain goes on to here, and the log does not"))
        return flaws

    async def _compare_entry(self, entry: Entry) -> list[Flaw]:
        flaws = []
        if self._link is not None and not self._link.is_that_of(entry, previous=self._previous):
            flaws.append(Flaw(entry.last, f"the facts from {entry.first} to {entry.last} do not match their hash"))
        self.last, self._previous, self._link = entry, entry.hash, ChainDigest()
        self._entry = following = await anext(self._entries, None)
        if following is not None and following.first <= entry.last:
            flaws.append(Flaw(following.first, "two entries of the chain include it"))
        return flaws


async def read_hash_at(connection: Connection, position: Position) -> bytes | None:
    """Hash of the entry that ends at a position."""
    found: bytes | None = await connection.fetchval(ENTRY_ENDING_AT, position)
    return found


async def read_entries(connection: Connection, *, after: Position) -> AsyncIterator[Entry]:
    """Read the entries that end after a position."""
    while True:
        rows = await connection.fetch(READ_ENTRIES, after, ENTRIES_AT_ONCE)
        for row in rows:
            yield Entry(row["first_position"], row["last_position"], row["published_at"], row["hash"])
        if len(rows) < ENTRIES_AT_ONCE:
            return
        after = rows[-1]["last_position"]


async def read_hash_before(connection: Connection, position: Position) -> bytes:
    """Hash of the entry before the one that holds a position; empty if that is the first."""
    found: bytes | None = await connection.fetchval(HASH_BEFORE, position)
    return found or b""
