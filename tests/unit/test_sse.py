"""The bytes of a stream."""

import asyncio

from starlette.types import Message

from factwire.api.http.reconnect_later import ReconnectLater
from factwire.api.http.sse import Client
from factwire.domain.errors import HistoryForked
from factwire.domain.position import Cursor, Position
from factwire.follow.progress import CaughtUp, Facts, Failed, Happening, Moved, Quiet

BODY = b'data: {"position":7}\nid: 1:7\n\n'


def at(position: int) -> Cursor:
    return Cursor(1, Position(position))


async def stream_of(*happenings: Happening) -> list[bytes]:
    sent: list[bytes] = []

    async def send(message: Message) -> None:
        sent.append(message["body"])

    client = Client(send, 1.0)
    assert all(client.push(happening) for happening in happenings)
    return sent


async def test_what_would_have_to_wait_is_not_pushed_and_not_sent_later() -> None:
    room = asyncio.Event()
    sent: list[bytes] = []

    async def send(message: Message) -> None:
        await room.wait()
        sent.append(message["body"])

    client = Client(send, 1.0)
    assert not client.push(Quiet())
    room.set()
    await asyncio.sleep(0)
    assert sent == []
    assert client.push(Facts(BODY, 1, at(7)))
    assert sent == [BODY]


async def test_facts_are_sent_as_they_come_from_the_store() -> None:
    assert await stream_of(Facts(BODY, 1, at(7))) == [BODY]


async def test_a_heartbeat_is_a_colon_and_a_line_feed() -> None:
    assert (await stream_of(Quiet())) == [b":\n"]


async def test_caught_up_and_position_carry_their_cursor() -> None:
    assert (await stream_of(CaughtUp(at(7)), Moved(at(9)))) == [
        b'event: caught-up\ndata: {"position":7,"head":7}\nid: 1:7\n\n',
        b'event: position\ndata: {"position":9}\nid: 1:9\n\n',
    ]


async def test_a_problem_carries_its_cursor() -> None:
    chunks = await stream_of(Facts(BODY, 1, at(7)), Failed(HistoryForked(forked_after=3), at(7)))
    assert chunks[-1].startswith(b"event: problem\ndata: {")
    assert chunks[-1].endswith(b"}\nid: 1:7\n\n")
    assert chunks[-1].count(b"\n") == 4


def test_a_client_that_is_asked_to_come_back_gets_a_jittered_retry_alone() -> None:
    line = ReconnectLater(retry_seconds=2.0).later().opening
    name, _, milliseconds = line.partition(b" ")
    assert (name, line[-1:]) == (b"retry:", b"\n")
    assert 2000 <= int(milliseconds) <= 6000
