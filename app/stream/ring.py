"""The ring: the newest facts of the log as ready bytes, for all streams of the process."""

from dataclasses import dataclass
from uuid import UUID

from app.domain.position import Position
from app.domain.query import Query
from app.store.reading import TailFact

FACT_OVERHEAD_BYTES = 600  # what Python adds to a fact: objects, tags, list entry
BATCH_OVERHEAD_BYTES = 400


@dataclass(frozen=True, slots=True)
class Batch:
    """What a query finds between a position and `through`, as ready events; `last` is the position of the last one."""

    body: bytes
    facts: int
    last: Position | None
    through: Position
    epoch: int


class Ring:
    """Facts at consecutive positions from after + 1 to head, at most so many bytes of them, and of batches as well."""

    def __init__(self, *, bytes_max: int, batch_bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._batch_bytes_max = batch_bytes_max
        self.reset(Position(0), epoch=0)

    def reset(self, head: Position, *, epoch: int) -> None:
        """Forget everything; the next fact is the one behind `head`."""
        self.after = head
        self.epoch = epoch
        self._facts: list[TailFact] = []
        self._bytes = 0
        self._forget_batches()

    @property
    def head(self) -> Position:
        return Position(self.after + len(self._facts))

    def extend(self, facts: list[TailFact]) -> None:
        """Add the facts behind the head and drop the oldest beyond the bound."""
        assert not facts or facts[0].position == self.head + 1
        self._facts.extend(facts)
        self._bytes += sum(size(fact) for fact in facts)
        self._forget_batches()
        dropped = 0
        while self._bytes > self._bytes_max and dropped < len(self._facts) - 1:
            self._bytes -= size(self._facts[dropped])
            dropped += 1
        del self._facts[:dropped]
        self.after = Position(self.after + dropped)

    def covers(self, cursor: Position) -> bool:
        """Whether what follows a cursor can be taken from here."""
        return self.after <= cursor <= self.head

    def take(self, query: Query, cursor: Position, *, typed: bool) -> Batch:
        """What follows the cursor. Streams with the same query at the same cursor share one result."""
        key = (query, typed, cursor)
        batch = self._batches.get(key)
        if batch is None:
            batch = self._match(query, cursor, typed=typed)
            self._batches_bytes += len(batch.body) + BATCH_OVERHEAD_BYTES
            if self._batches_bytes > self._bytes_max:
                self._forget_batches()
            self._batches[key] = batch
        return batch

    def ids(self) -> list[tuple[Position, UUID]]:
        """Position and id of each fact, newest first: what a forked history is compared with."""
        return [(fact.position, fact.id) for fact in reversed(self._facts)]

    def _forget_batches(self) -> None:
        self._batches: dict[tuple[Query, bool, Position], Batch] = {}
        self._batches_bytes = 0

    def _match(self, query: Query, cursor: Position, *, typed: bool) -> Batch:
        frames: list[bytes] = []
        total = 0
        through, last = cursor, None
        for fact in self._facts[cursor - self.after :]:
            through = fact.position
            if query.matches(fact.namespace, fact.type, fact.tags):
                frame = event_frame(fact, epoch=self.epoch, typed=typed)
                frames.append(frame)
                last = fact.position
                total += len(frame)
                if total >= self._batch_bytes_max:
                    break
        return Batch(b"".join(frames), len(frames), last, through, self.epoch)


def event_frame(fact: TailFact, *, epoch: int, typed: bool) -> bytes:
    """A fact as one event, byte for byte as read_page composes it."""
    name = f"event: {fact.namespace}/{fact.type}\n".encode() if typed else b""
    return b"%bid: %d:%d\ndata: %b\n\n" % (name, epoch, fact.position, fact.json)


def size(fact: TailFact) -> int:
    return len(fact.json) + FACT_OVERHEAD_BYTES
