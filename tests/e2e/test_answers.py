"""Answers that are written past ASGI are the same to clients of every kind."""

import asyncio
import json

import httpx
import pytest

from tests.builders import publication
from tests.conftest import StartService
from tests.e2e.wire import connect, streaming, until

HEAD = (
    "POST /v1/facts HTTP/{version}\r\nhost: x\r\n"
    "content-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n"
)


def publishing(*, version: str = "1.1", more: str = "") -> tuple[bytes, bytes]:
    body = json.dumps(publication()).encode()
    return HEAD.format(version=version, length=len(body), more=more).encode(), body


async def answer(reader: asyncio.StreamReader) -> tuple[list[bytes], int]:
    """The lines of a head, and the position that the body tells."""
    async with asyncio.timeout(10):
        lines = (await reader.readuntil(b"\r\n\r\n")).lower().splitlines()
        [length] = [int(line.partition(b": ")[2]) for line in lines if line.startswith(b"content-length: ")]
        return lines, json.loads(await reader.readexactly(length))["position"]


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
    [b"GET /v1/position HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /v1/position HTTP/1.1\r\nhost: x\r\n\r\nGARBAGE\r\n\r\n"],
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
