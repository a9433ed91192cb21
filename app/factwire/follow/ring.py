"""Ring of the newest facts of the log as ready bytes, for all streams of the process."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

from factwire.domain.fact import NewFact
from factwire.domain.position import Position
from factwire.domain.query import Query
from factwire.store.read_tail import Mark, TailFact

FACT_OVERHEAD_BYTES = 600  # memory that Python adds per fact: objects, list entry
TAG_OVERHEAD_BYTES = 64  # and per tag
TAG_TEXT_BYTES_MAX = 300  # per tag, which is in the document as well
LOOKS_MAX = 10_000  # look-ups for one batch: about a millisecond
BATCH_OVERHEAD_BYTES = 400
PLACE_BYTES = 64  # per position in the key of a batch
NEWEST_FACTS_MAX = 1000


@dataclass(slots=True)
class Segment:
    """Facts at consecutive positions that were published at the same moment, and their approximate memory use."""

    first: Position
    published_at: str
    facts: Sequence[NewFact | TailFact]
    bytes: int = field(init=False)

    def __post_init__(self) -> None:
        documents = sum([len(fact.document) for fact in self.facts])
        tags = sum([len(fact.tags) for fact in self.facts])
        # The tags are stored in addition to the documents, which contain them too.
        of_tags = TAG_OVERHEAD_BYTES * tags + min(documents, TAG_TEXT_BYTES_MAX * tags)
        self.bytes = FACT_OVERHEAD_BYTES * len(self.facts) + documents + of_tags

    @property
    def last(self) -> Position:
        return Position(self.first + len(self.facts) - 1)

    def behind(self, cursor: Position) -> Iterator[tuple[Position, NewFact | TailFact]]:
        skipped = max(0, cursor + 1 - self.first)
        for offset in range(skipped, len(self.facts)):
            yield Position(self.first + offset), self.facts[offset]


def segments(facts: Sequence[TailFact]) -> list[Segment]:
    """Group facts at consecutive positions into segments."""
    found = []
    for published_at, group in groupby(facts, attrgetter("published_at")):
        together = list(group)
        found.append(Segment(together[0].position, published_at, together))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class FactBatch:
    """Matches of a query after a position, up to `through`, as ready events; `last` is the position of the last one."""

    body: bytes
    facts: int
    last: Position | None
    through: Position
    epoch: int


class Ring:
    """Facts at consecutive positions from after + 1 to head, with a bound on their bytes, and on those of batches."""

    def __init__(self, *, bytes_max: int, batch_bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._batch_bytes_max = batch_bytes_max
        self.reset(Position(0), epoch=0)

    def reset(self, head: Position, *, epoch: int) -> None:
        """Forget everything; the next fact is the one after `head`."""
        self.after = self.head = head
        self.epoch = epoch
        self._segments: list[Segment] = []
        self._bytes = 0
        self._forget_batches()

    def extend(self, segment: Segment) -> None:
        """Add the facts after the head and drop the oldest segments beyond the bound, but never the newest."""
        assert segment.first == self.head + 1
        self._segments.append(segment)
        self._bytes += segment.bytes
        self.head = segment.last
        self._forget_batches()
        dropped = 0
        while self._bytes > self._bytes_max and dropped < len(self._segments) - 1:
            self._bytes -= self._segments[dropped].bytes
            self.after = self._segments[dropped].last
            dropped += 1
        del self._segments[:dropped]

    def covers(self, cursor: Position) -> bool:
        """True if the facts after a cursor can be taken from the ring."""
        return self.after <= cursor <= self.head

    def behind(self, cursor: Position) -> Iterable[tuple[Position, NewFact | TailFact]]:
        """Return the facts after a cursor that is covered, with their positions."""
        return self._walk(cursor) if self.head - cursor > NEWEST_FACTS_MAX else self._newest_behind(cursor)

    def published_at(self, position: Position) -> str:
        """Time of a fact in the ring."""
        return self._segments[self._index_of(position)].published_at

    def take(self, query: Query, cursor: Position, *, typed: bool) -> FactBatch:
        """Return the matches after the cursor, as far as compared. Streams with one query and cursor share a batch."""
        key = (query, typed, cursor)
        batch = self._batches.get(key)
        if batch is None:
            positions, through = self._match(query, cursor, typed=typed)
            batch = self._batches[key] = self.gather(positions, through=through, typed=typed)
            self._note_bytes(BATCH_OVERHEAD_BYTES + query.bytes)
        return batch

    def gather(self, positions: Sequence[Position], *, through: Position, typed: bool) -> FactBatch:
        """Compose a batch of the facts at these positions, out of all facts up to `through`.

        If there are too many, it holds only the first, and its `through` is the last of these. Queries that find the
        same facts share one batch.
        """
        key = (typed, through, tuple(positions))
        batch = self._composed.get(key)
        if batch is None:
            fitting, through = self._fit(positions, through, typed=typed)
            body = b"".join(self._frame(position, typed=typed) for position in fitting)
            last = fitting[-1] if fitting else None
            batch = self._composed[key] = FactBatch(body, len(fitting), last, through, self.epoch)
            self._note_bytes(len(body) + PLACE_BYTES * len(positions))
        return batch

    def marks(self) -> list[tuple[Position, Mark]]:
        """Return position and mark of each fact, newest first, for comparison with a forked history."""
        behind = [
            (position, Mark(fact.id, segment.published_at))
            for segment in self._segments
            for position, fact in segment.behind(self.after)
        ]
        return behind[::-1]

    def _forget_batches(self) -> None:
        self._batches: dict[tuple[Query, bool, Position], FactBatch] = {}
        self._composed: dict[tuple[bool, Position, tuple[Position, ...]], FactBatch] = {}
        self._newest: tuple[Position, list[tuple[Position, NewFact | TailFact]]] | None = None
        self._frames: dict[tuple[Position, bool], bytes] = {}
        self._batches_bytes = 0

    def _note_bytes(self, more: int) -> None:
        """Count bytes of shared batches, which have the same bound as the facts themselves."""
        self._batches_bytes += more
        if self._batches_bytes > self._bytes_max:
            self._forget_batches()

    def _newest_behind(self, cursor: Position) -> Iterable[tuple[Position, NewFact | TailFact]]:
        """Return the facts after a cursor near the head, cached: most streams there ask at the same position."""
        if self._newest is None or self._newest[0] != cursor:
            self._newest = (cursor, list(self._walk(cursor)))
        return self._newest[1]

    def _walk(self, cursor: Position) -> Iterator[tuple[Position, NewFact | TailFact]]:
        for index in range(self._index_of(Position(cursor + 1)), len(self._segments)):
            yield from self._segments[index].behind(cursor)

    def _index_of(self, position: Position) -> int:
        """Return the index of the segment that holds a position."""
        return max(0, bisect_right(self._segments, position, key=attrgetter("first")) - 1)

    def _match(self, query: Query, cursor: Position, *, typed: bool) -> tuple[list[Position], Position]:
        """Return the positions for one batch of a query, and the position it reaches within the limits of a batch."""
        fitting: list[Position] = []
        total = looks = 0
        looks_of_query = query.comparisons
        for position, fact in self.behind(cursor):
            if query.matches(fact.namespace, fact.type, frozenset(fact.tags)):
                fitting.append(position)
                total += len(self._frame(position, typed=typed))
            looks += looks_of_query + len(fact.tags)
            if total >= self._batch_bytes_max or looks >= LOOKS_MAX:
                return fitting, position
        return fitting, self.head

    def _fit(self, positions: Iterable[Position], through: Position, *, typed: bool) -> tuple[list[Position], Position]:
        """Return as many of the positions as fit into one batch, and the position that the batch reaches."""
        fitting: list[Position] = []
        total = 0
        for position in positions:
            fitting.append(position)
            total += len(self._frame(position, typed=typed))
            if total >= self._batch_bytes_max:
                return fitting, position
        return fitting, through

    def _frame(self, position: Position, *, typed: bool) -> bytes:
        """Return the frame of a fact, composed once for all queries that find it at that time."""
        frame = self._frames.get((position, typed))
        if frame is None:
            segment = self._segments[self._index_of(position)]
            fact = segment.facts[position - segment.first]
            frame = event_frame(fact, segment.published_at, position, epoch=self.epoch, typed=typed)
            self._frames[position, typed] = frame
            self._batches_bytes += len(frame)
        return frame


def event_frame(fact: NewFact | TailFact, published_at: str, position: Position, *, epoch: int, typed: bool) -> bytes:
    """Compose a fact as one event, byte for byte the same as compose_page does."""
    name = f"event: {fact.namespace}/{fact.type}\n" if typed else ""
    head = f'{name}data: {{"position":{position},"published_at":"{published_at}",'
    return b"%b%b\nid: %d:%d\n\n" % (head.encode(), fact.document, epoch, position)
