"""The bytes of a stream."""

from collections.abc import AsyncGenerator

from app.api.sse import come_back_later, event_bytes
from app.domain.errors import HistoryForked
from app.domain.position import Cursor, Position
from app.stream.following import CaughtUp, Facts, Failed, Happening, Moved, Quiet

BODY = b'id: 1:7\ndata: {"position":7}\n\n'


def at(position: int) -> Cursor:
    return Cursor(1, Position(position))


async def stream_of(*happenings: Happening) -> list[bytes]:
    async def happen() -> AsyncGenerator[Happening]:
        for happening in happenings:
            yield happening

    return [chunk async for chunk in event_bytes(happen(), retry_seconds=2.0, cursor=at(5))]


async def test_a_stream_opens_with_retry_and_a_comment() -> None:
    assert await stream_of() == [b"retry: 2000\n:ok\n"]


async def test_facts_are_sent_as_they_come_from_the_store() -> None:
    assert (await stream_of(Facts(BODY, 1, at(7))))[1:] == [BODY]


async def test_a_heartbeat_is_a_colon_and_a_line_feed() -> None:
    assert (await stream_of(Quiet()))[1:] == [b":\n"]


async def test_caught_up_and_position_carry_their_cursor() -> None:
    assert (await stream_of(CaughtUp(at(7)), Moved(at(9))))[1:] == [
        b'event: caught-up\nid: 1:7\ndata: {"position":7,"head":7}\n\n',
        b'event: position\nid: 1:9\ndata: {"position":9}\n\n',
    ]


async def test_a_problem_carries_the_last_cursor_that_was_told() -> None:
    chunks = await stream_of(Facts(BODY, 1, at(7)), Failed(HistoryForked(forked_after=3)))
    assert chunks[-1].startswith(b"event: problem\nid: 1:7\ndata: {")
    assert chunks[-1].endswith(b"}\n\n")
    assert chunks[-1].count(b"\n") == 4


async def test_a_problem_at_once_carries_the_cursor_of_the_beginning() -> None:
    assert b"\nid: 1:5\n" in (await stream_of(Failed(HistoryForked(forked_after=3))))[-1]


async def test_a_client_that_is_asked_to_come_back_gets_a_jittered_retry_alone() -> None:
    [line] = [chunk async for chunk in come_back_later(2.0)]
    name, _, milliseconds = line.partition(b" ")
    assert (name, line[-1:]) == (b"retry:", b"\n")
    assert 2000 <= int(milliseconds) <= 6000
