"""Answers that are written past ASGI are the same to clients of every kind."""

import asyncio
import json
import re
from collections.abc import Callable
from uuid import uuid4

import httpx
import pytest

from tests.conftest import StartService
from tests.e2e.wire import connect, streaming
from tests.support.builders import new_fact, publication
from tests.support.waiting import until

HEAD = (
    "POST /v1/facts HTTP/{version}\r\nhost: [::]\r\n"
    "content-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n"
)


APART_SECONDS = 0.02  # so that pieces come in packets of their own


def publishing(*, version: str = "1.1", more: str = "") -> tuple[bytes, bytes]:
    body = json.dumps(publication()).encode()
    return HEAD.format(version=version, length=len(body), more=more).encode(), body


async def answer(reader: asyncio.StreamReader) -> tuple[list[bytes], int]:
    """The lines of a head, and the position that the body tells."""
    lines, body = await head_and_body(reader)
    return lines, json.loads(body)["position"]


async def test_pipelined_publishes_are_answered_one_after_the_other(start_service: StartService) -> None:
    reader, writer = await connect((await start_service()).url)
    writer.write(b"".join(b"".join(publishing()) for _ in range(20)))
    answers = [await answer(reader) for _ in range(20)]
    assert [position for _, position in answers] == list(range(1, 21))
    for lines, _ in answers:
        assert lines[0] == b"http/1.1 201 created"
        names = [line.partition(b":")[0] for line in lines[1:] if line]
        assert sorted(names) == [b"content-length", b"content-type", b"date", b"x-request-id"]
    writer.close()


async def test_a_client_that_wants_the_connection_closed_is_told_so_and_gets_it(start_service: StartService) -> None:
    service = await start_service()
    for head, body in (publishing(more="connection: close\r\n"), publishing(version="1.0")):
        reader, writer = await connect(service.url)
        writer.write(head + body)
        lines, position = await answer(reader)
        assert b"connection: close" in lines
        assert position > 0
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_a_client_that_waits_for_permission_to_send_its_body_gets_it(start_service: StartService) -> None:
    reader, writer = await connect((await start_service()).url)
    head, body = publishing(more="expect: 100-continue\r\n")
    writer.write(head)
    permission = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert permission.startswith(b"HTTP/1.1 100 ")
    writer.write(body)
    lines, _ = await answer(reader)
    assert lines[0] == b"http/1.1 201 created"
    writer.close()


@pytest.mark.parametrize(
    "behind",
    [
        b"GET /v1/position HTTP/1.1\r\nhost: [::]\r\n\r\n",
        b"GET /v1/position HTTP/1.1\r\nhost: [::]\r\n\r\nGARBAGE\r\n\r\n",
    ],
    ids=["request", "garbage"],
)
async def test_a_stream_that_dies_behind_a_further_request_is_forgotten_and_disturbs_nobody(
    start_service: StartService, behind: bytes
) -> None:
    service = await start_service()
    async with (
        httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client,
        streaming(service.url) as before,
        streaming(service.url) as dying,
        streaming(service.url) as after,
    ):
        for stream in (before, dying, after):
            await stream.read_until(lambda body: b"caught-up" in body)
        dying.writer.write(behind)
        await dying.writer.drain()
        await asyncio.sleep(0.2)
        dying.writer.transport.abort()
        for _ in range(5):
            (await client.post("/v1/facts", json=publication())).raise_for_status()
        for stream in (before, after):
            await stream.read_until(lambda body: b'"position":5,"published_at"' in body)
            assert stream.positions() == [1, 2, 3, 4, 5]

        async def is_forgotten() -> bool:
            return 'factwire_open_streams{state="live"} 2.0' in (await client.get("/metrics")).text

        await until(is_forgotten)


ALL_KINDS = {
    "published": lambda: publication(),
    "on a condition": lambda: publication(condition={"fail_if_match": [{"aggregate_ids": [str(uuid4())]}]}),
    "refused by its condition": lambda: publication(condition={"fail_if_match": [{"namespaces": ["first"]}]}),
    "not allowed": lambda: publication(new_fact(namespace="factwire")),
    "beyond a limit": lambda: publication(new_fact(aggregate_ids=[str(n) for n in range(33)])),
    "too large": lambda: publication(new_fact(payload="x" * 20_000)),
    "no object": list,
}


@pytest.mark.parametrize("body", ALL_KINDS.values(), ids=ALL_KINDS)
async def test_a_request_is_answered_alike_however_it_arrives(
    start_service: StartService, body: Callable[[], object]
) -> None:
    """Whole it takes the shortcut past ASGI; in pieces, or with something out of the ordinary, it does not."""
    reader, writer = await connect((await start_service(body_bytes_max=20_000)).url)
    answers = []
    for pieces in (whole, whole, in_pieces, in_chunks):
        for request in (publication(new_fact(namespace="first")), body()):
            for piece in pieces(json.dumps(request).encode()):
                writer.write(piece)
                await asyncio.sleep(APART_SECONDS)
            lines, answered = await head_and_body(reader)
        answers.append((without_what_differs(b"\n".join(sorted(lines))), without_what_differs(answered)))
    writer.close()
    assert answers[1] == answers[2] == answers[3]
    assert b"x-request-id: known" in answers[0][0]


REQUEST = b"POST /v1/facts HTTP/1.1\r\nhost: [::]\r\ncontent-type: application/json\r\nx-request-id: known\r\n"


def whole(body: bytes) -> list[bytes]:
    return [b"%bcontent-length: %d\r\n\r\n%b" % (REQUEST, len(body), body)]


def in_pieces(body: bytes) -> list[bytes]:
    [all] = whole(body)
    return [all[:20], all[20 : -len(body)], body[:1], body[1:]]


def in_chunks(body: bytes) -> list[bytes]:
    return [
        REQUEST + b"transfer-encoding: chunked\r\n\r\n",
        b"1\r\n%b\r\n" % body[:1],
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) - 1, body[1:]) if body[1:] else b"0\r\n\r\n",
    ]


async def head_and_body(reader: asyncio.StreamReader) -> tuple[list[bytes], bytes]:
    async with asyncio.timeout(10):
        lines = (await reader.readuntil(b"\r\n\r\n")).lower().splitlines()
        [length] = [int(line.partition(b": ")[2]) for line in lines if line.startswith(b"content-length: ")]
        return lines, await reader.readexactly(length)


def without_what_differs(text: bytes) -> bytes:
    ids, times, numbers = (
        rb"[0-9a-f]{8}-[0-9a-f-]{27}",
        rb"\d{4}-\d\d-\d\dt[0-9:.]+z|date: .*",
        rb'(?<="position":)\d+|1:\d+',
    )
    return re.sub(b"|".join((ids, times, numbers)), b"", text, flags=re.IGNORECASE)


async def test_a_refused_publish_and_what_stands_behind_it_in_one_packet_are_both_answered(
    start_service: StartService,
) -> None:
    reader, writer = await connect((await start_service()).url)
    writer.write(
        whole(b"{")[0]
        + whole(json.dumps(publication()).encode())[0]
        + b"GET /v1/position HTTP/1.1\r\nhost: [::]\r\n\r\n"
    )
    for status in (b"400", b"201", b"200"):
        lines, _ = await head_and_body(reader)
        assert lines[0].split()[1] == status
    writer.close()


async def test_a_publish_whose_client_left_is_published_all_the_same(start_service: StartService) -> None:
    service = await start_service()
    _, writer = await connect(service.url)
    writer.write(whole(json.dumps(publication()).encode())[0])
    await writer.drain()
    writer.close()
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:

        async def is_published() -> bool:
            head: int = (await client.get("/v1/position")).json()["head"]
            return head == 1

        await until(is_published)
