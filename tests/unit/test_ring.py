"""The ring: bounded, in order, and one result for streams with the same query."""

from uuid import uuid4

from factwire.domain.position import Position
from factwire.domain.query import EVERYTHING, Query, new_item
from factwire.follow.ring import Ring, Segment, event_frame, segments
from factwire.store.read_tail import TailFact

AT = "2026-01-31T12:00:00.000000Z"


def facts(first: int, count: int, *, document_bytes: int = 100) -> list[TailFact]:
    return [
        TailFact(
            Position(at), AT, str(uuid4()), "shop", "Odd" if at % 2 else "Even", (f"a:{at}",), b"x" * document_bytes
        )
        for at in range(first, first + count)
    ]


def extend(ring: Ring, added: list[TailFact]) -> None:
    """Add facts that were published one by one."""
    for fact in added:
        ring.extend(Segment(fact.position, AT, [fact]))


def ring_of(*, bytes_max: int = 1_000_000, batch_bytes_max: int = 100_000) -> Ring:
    ring = Ring(bytes_max=bytes_max, batch_bytes_max=batch_bytes_max)
    ring.reset(Position(10), epoch=1)
    return ring


def test_facts_of_one_moment_are_a_segment_from_which_any_part_can_be_taken() -> None:
    later = "2026-01-31T12:00:01.000000Z"
    added = facts(11, 5)
    whole = segments([*added[:3], *(fact._replace(published_at=later) for fact in added[3:])])
    assert [(segment.first, segment.last, segment.published_at) for segment in whole] == [(11, 13, AT), (14, 15, later)]
    ring = ring_of()
    for segment in whole:
        ring.extend(segment)
    for cursor in range(10, 16):
        batch = ring.take(EVERYTHING, Position(cursor), typed=False)
        assert batch.facts == 15 - cursor
        assert [int(part.split(b"\n")[0]) for part in batch.body.split(b"id: 1:")[1:]] == list(range(cursor + 1, 16))


def test_the_oldest_facts_are_dropped_beyond_the_bound() -> None:
    added = facts(11, 50)
    ring = ring_of(bytes_max=10 * Segment(Position(11), AT, added[:1]).bytes)
    extend(ring, added)
    assert (ring.after, ring.head, len(ring.marks())) == (50, 60, 10)
    assert not ring.covers(Position(49))
    assert ring.covers(Position(50))
    assert ring.covers(Position(60))
    assert not ring.covers(Position(61))


def test_the_newest_fact_is_kept_even_if_it_alone_is_beyond_the_bound() -> None:
    ring = ring_of(bytes_max=1000)
    extend(ring, facts(11, 2, document_bytes=5000))
    assert [position for position, _ in ring.marks()] == [12]


def test_a_batch_is_bounded_and_the_next_one_goes_on_behind_it() -> None:
    ring = ring_of(batch_bytes_max=300)
    added = facts(11, 20)
    extend(ring, added)
    cursor, body = Position(10), b""
    while cursor < ring.head:
        batch = ring.take(EVERYTHING, cursor, typed=False)
        assert len(batch.body) < 300 + 200
        assert batch.through > cursor
        cursor, body = batch.through, body + batch.body
    assert body == b"".join(event_frame(fact, AT, fact.position, epoch=1, typed=False) for fact in added)


def test_what_matches_nothing_moves_to_the_head() -> None:
    ring = ring_of()
    extend(ring, facts(11, 5))
    batch = ring.take(Query((new_item(types=["Other"]),)), Position(12), typed=False)
    assert (batch.body, batch.facts, batch.last, batch.through) == (b"", 0, None, 15)


def test_a_batch_holds_only_what_matches_behind_the_cursor() -> None:
    ring = ring_of()
    extend(ring, facts(11, 5))
    batch = ring.take(Query((new_item(types=["Odd"]),)), Position(11), typed=True)
    assert (batch.facts, batch.last, batch.through) == (2, 15, 15)
    assert batch.body.startswith(b'event: shop/Odd\ndata: {"position":13,')


def test_streams_with_the_same_query_share_one_result_until_facts_arrive() -> None:
    ring = ring_of()
    extend(ring, facts(11, 5))
    shared = ring.take(EVERYTHING, Position(10), typed=False)
    assert ring.take(Query(()), Position(10), typed=False) is shared
    extend(ring, facts(16, 1))
    assert ring.take(EVERYTHING, Position(10), typed=False).through == 16


def test_queries_that_find_the_same_facts_share_one_batch() -> None:
    ring = ring_of()
    extend(ring, facts(11, 5))
    odd = ring.take(Query((new_item(types=["Odd"]),)), Position(10), typed=False)
    assert ring.take(Query((new_item(types=["Odd", "Unheard"]),)), Position(10), typed=False) is odd
    assert ring.take(Query((new_item(types=["Odd"]),)), Position(10), typed=True) is not odd
    assert ring.take(Query((new_item(types=["Even"]),)), Position(10), typed=False).body != odd.body
    assert ring.take(Query((new_item(types=["Odd"]),)), Position(11), typed=False).facts == odd.facts - 1


def test_of_too_many_facts_the_first_are_gathered_and_the_batch_ends_with_them() -> None:
    ring = ring_of(batch_bytes_max=300)
    extend(ring, facts(11, 20))
    wanted = [Position(at) for at in range(12, 30, 2)]
    batch = ring.gather(wanted, through=Position(30), typed=False)
    assert batch.last == batch.through == wanted[batch.facts - 1] < wanted[-1]
    rest = ring.gather(wanted[batch.facts :][:1], through=Position(30), typed=False)
    assert (rest.facts, rest.last, rest.through) == (1, wanted[batch.facts], 30)


def test_a_reset_forgets_what_was_shared() -> None:
    ring = ring_of()
    extend(ring, facts(11, 5))
    ring.take(EVERYTHING, Position(10), typed=False)
    ring.reset(Position(10), epoch=2)
    assert ring.take(EVERYTHING, Position(10), typed=False).facts == 0
