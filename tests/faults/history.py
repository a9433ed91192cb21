"""What the clients of a run did and saw, as JSON lines: all that the checker knows."""

import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec


class Sent(msgspec.Struct, frozen=True, array_like=True):
    """A fact as it was published."""

    id: str
    type: str
    aggregate_ids: tuple[str, ...]
    content: str


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """A fact as it was received; `spelling` stands for all its bytes. `gone` is how its payload went."""

    position: int
    id: str
    type: str
    aggregate_ids: tuple[str, ...]
    content: str
    spelling: str
    published_at: str
    data_subject: str = ""
    gone: str = ""  # "", "erased" or "redacted"


class Condition(msgspec.Struct, frozen=True):
    """Publish only if no fact with this type and aggregate id stands behind a position, or a cursor of an epoch."""

    type: str
    aggregate_id: str
    after: int
    epoch: int = 0


class Publish(msgspec.Struct, frozen=True, tag_field="kind", tag="publish"):
    facts: list[Sent]
    condition: Condition | None = None


class Read(msgspec.Struct, frozen=True, tag_field="kind", tag="read", omit_defaults=True):
    """A page or, without a limit, an export."""

    after: int
    limit: int | None = None
    type: str | None = None
    descending: bool = False


class Follow(msgspec.Struct, frozen=True, tag_field="kind", tag="follow", omit_defaults=True):
    """One connection of a follower, from a cursor on."""

    connection: int
    after: str
    type: str | None = None


class Import(msgspec.Struct, frozen=True, tag_field="kind", tag="import"):
    """A file, a fact a line."""

    facts: list[Sent]


class Claim(msgspec.Struct, frozen=True, tag_field="kind", tag="claim"):
    """Facts of a subscription over one type, in order for each aggregate, under leases of so many seconds."""

    type: str
    limit: int
    lease_seconds: float


class Settle(msgspec.Struct, frozen=True, tag_field="kind", tag="settle"):
    """What becomes of claimed facts: `how` is the operation."""

    how: str  # "ack", "nack", "park" or "release"
    leases: list[str]


class Handed(msgspec.Struct, frozen=True, array_like=True):
    """A fact that was handed out, under a lease of its own."""

    lease: str
    attempt: int
    fact: Seen


class Erase(msgspec.Struct, frozen=True, tag_field="kind", tag="erase"):
    data_subject: str


class Redact(msgspec.Struct, frozen=True, tag_field="kind", tag="redact"):
    id: str


class Imported(msgspec.Struct, frozen=True, array_like=True):
    """The last progress of an import, and the line that failed: 0 where none did, or the answer was cut."""

    lines: int
    published: int
    replayed: int
    position: int
    failing_line: int = 0


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came back. Status 0: nothing that could be understood, for the reason in `problem`.

    Of an import, it is what its last line says: 200 for a result. `published_at` of an erasure is when it was done.
    `refused` are the leases that could not be settled, while the others of the same request were.
    """

    status: int
    problem: str = ""
    positions: tuple[int, ...] = ()
    published_at: str | None = None
    conflict: int | None = None
    through: int = 0
    head: int = 0
    epoch: int = 0
    facts: list[Seen] = []
    imported: Imported | None = None
    handed: list[Handed] = []
    refused: tuple[str, ...] = ()

    @property
    def acknowledged(self) -> bool:
        return self.status in {200, 201}

    @property
    def certainly_nothing(self) -> bool:
        """Whether the answer says that nothing was written."""
        if self.status == 0:
            return self.problem in {"ConnectError", "ConnectTimeout"}
        return 400 <= self.status < 500 or (self.status == 503 and self.problem != "outcome-unknown")


Request = Publish | Read | Follow | Import | Erase | Redact | Claim | Settle


class Call(msgspec.Struct, frozen=True, tag_field="kind", tag="call"):
    process: str
    start: float
    end: float
    request: Request
    outcome: Outcome


class Event(msgspec.Struct, frozen=True, tag_field="kind", tag="event", omit_defaults=True):
    """What a follower received; `name` is that of the event, or `ended` or `cut` where the stream came to its end."""

    process: str
    at: float
    connection: int
    name: str
    cursor: str = ""
    fact: Seen | None = None
    problem: str = ""


class Loss(msgspec.Struct, frozen=True, tag_field="kind", tag="loss"):
    """A fail-over lost what stood behind a position. `acknowledged`: it was allowed to lose acknowledged facts, too."""

    at: float
    forked_after: int
    acknowledged: bool


class Raised(msgspec.Struct, frozen=True, tag_field="kind", tag="raised"):
    """An operator raised the epoch between two moments."""

    at: float
    until: float
    epoch: int


class Keys(msgspec.Struct, frozen=True, tag_field="kind", tag="keys"):
    """The data subjects whose keys the database held at a moment."""

    at: float
    data_subjects: list[str]


Entry = Call | Event | Loss | Raised | Keys

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)


class Recorder:
    """Appends entries to a file. The clock starts with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb", buffering=1 << 20)
        self._began = time.monotonic()

    def now(self) -> float:
        return time.monotonic() - self._began

    def add(self, entry: Entry) -> None:
        self._file.write(_encoder.encode(entry) + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read(path: Path) -> Iterator[Entry]:
    with path.open("rb") as lines:
        for line in lines:
            yield _decoder.decode(line)


class _FactBody(msgspec.Struct):
    position: int
    published_at: str
    id: str
    namespace: str
    type: str
    version: int
    aggregate_ids: tuple[str, ...]
    payload: msgspec.Raw
    data_subject: str = ""
    erased: bool = False
    redacted: bool = False


_fact_decoder = msgspec.json.Decoder(_FactBody)


def seen(line: bytes) -> Seen:
    """A fact from its JSON."""
    fact = _fact_decoder.decode(line)
    content = content_of(fact.type, fact.aggregate_ids, bytes(fact.payload))
    return Seen(
        fact.position,
        fact.id,
        fact.type,
        fact.aggregate_ids,
        content,
        digest_of(line.strip()),
        fact.published_at,
        fact.data_subject,
        "erased" if fact.erased else "redacted" if fact.redacted else "",
    )


def content_of(type: str, aggregate_ids: tuple[str, ...], payload: bytes) -> str:
    return digest_of(b"\x1f".join([type.encode(), *(id.encode() for id in sorted(aggregate_ids)), payload]))


def digest_of(value: bytes) -> str:
    return blake2b(value, digest_size=9).hexdigest()
