"""Clients that have only finished sending (`nc -N`, SHUT_WR) get their answers; those that have left do not stay."""

import asyncio
import json
import re

import httpx
import pytest

from tests.conftest import StartService
from tests.e2e.test_slow_clients import streams_open
from tests.e2e.wire import connect
from tests.support.builders import new_fact, publication
from tests.support.service import ServiceProcess
from tests.support.waiting import until

HOST = b"host: localhost\r\n"
ASKED = b"GET /v1/position HTTP/1.1\r\n" + HOST + b"\r\n"
LEFT_STREAMS = 200
LEFT_SECONDS = 3  # far less than a heartbeat


async def answered(service: ServiceProcess, *packets: bytes, seconds: float = 10) -> bytes:
    """All that the service says to a client that stops sending after its last packet."""
    reader, writer = await connect(service.url)
    for packet in packets:
        writer.write(packet)
        await writer.drain()
    writer.write_eof()
    try:
        async with asyncio.timeout(seconds):
            return await reader.read()
    finally:
        writer.close()


def statuses(told: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+) ", told)]


def publishing(*, chunked: bool = False) -> bytes:
    body = json.dumps(publication()).encode()
    head = b"POST /v1/facts HTTP/1.1\r\ncontent-type: application/json\r\n" + HOST
    if chunked:
        return head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return head + b"content-length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize(
    ("request_bytes", "status"), [(ASKED, 200), (publishing(), 201), (publishing(chunked=True), 201)]
)
async def test_an_answer_is_whole_and_then_the_connection_closes(
    service: ServiceProcess, request_bytes: bytes, status: int
) -> None:
    head, _, body = (await answered(service, request_bytes)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert "position" in json.loads(body)


async def test_every_pipelined_request_is_answered(service: ServiceProcess) -> None:
    told = await answered(service, ASKED + publishing() + publishing() + ASKED)
    assert statuses(told) == [200, 201, 201, 200]


async def test_what_is_half_sent_behind_a_request_does_not_take_its_answer(service: ServiceProcess) -> None:
    assert (await answered(service, publishing() + b"GET /v1/pos")).startswith(b"HTTP/1.1 201 ")


async def test_what_is_refused_behind_a_request_is_still_refused(service: ServiceProcess) -> None:
    told = await answered(service, publishing() + b"junk\r\n\r\n")
    assert statuses(told) == [201, 400]


async def test_a_large_answer_is_whole(start_service: StartService) -> None:
    service = await start_service()
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        for _ in range(4):
            (await client.post("/v1/facts", json=publication(new_fact(payload="x" * 900_000)))).raise_for_status()
    told = await answered(service, b"GET /v1/facts/export HTTP/1.1\r\n" + HOST + b"\r\n")
    assert told.count(b"x" * 100_000) == 4 * 9
    assert told.endswith(b"\r\n0\r\n\r\n")


async def test_an_import_is_counted(service: ServiceProcess) -> None:
    body = b"".join(json.dumps(new_fact()).encode() + b"\n" for _ in range(100))
    head = b"POST /v1/facts/import HTTP/1.1\r\ncontent-type: application/x-ndjson\r\n" + HOST
    told = await answered(service, head + b"content-length: %d\r\n\r\n" % len(body), body)
    assert b'"published":100,' in told


async def test_a_long_poll_is_answered(service: ServiceProcess) -> None:
    told = await answered(service, b"GET /v1/facts?after=head&wait_seconds=1 HTTP/1.1\r\n" + HOST + b"\r\n")
    assert told.startswith(b"HTTP/1.1 200 ")
    assert b'"caught_up":true' in told


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_a_stream_goes_on(start_service: StartService, version: bytes) -> None:
    service = await start_service()
    reader, writer = await connect(service.url)
    writer.write(b"GET /v1/stream HTTP/%b\r\n%b\r\n" % (version, HOST))
    await reader.readuntil(b"event: caught-up\n")
    writer.write_eof()
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        async with asyncio.timeout(10):
            await reader.readuntil(b"\n:\n")
            for position in range(1, 4):
                (await client.post("/v1/facts", json=publication())).raise_for_status()
                await reader.readuntil(b"id: 1:%d\n" % position)
        writer.close()
        await until(lambda: streams_open(client, 0), seconds=LEFT_SECONDS)


@pytest.mark.parametrize(
    "sent", [b"", b"GET /v1/position HTTP/1.1\r\nho", publishing()[:-1], publishing(chunked=True)[:-1]]
)
async def test_what_is_not_whole_is_closed_at_once(service: ServiceProcess, sent: bytes) -> None:
    assert await answered(service, sent, seconds=5) == b""


async def test_an_idle_connection_is_closed_at_once(service: ServiceProcess) -> None:
    reader, writer = await connect(service.url)
    writer.write(ASKED)
    async with asyncio.timeout(5):
        await reader.readuntil(b"\r\n\r\n{")
        writer.write_eof()
        assert (await reader.read()).endswith(b"}")
    writer.close()


@pytest.mark.parametrize("origin", [b"", b"origin: https://app.example\r\n"])
@pytest.mark.parametrize("begun", [True, False])
async def test_streams_that_were_left_end_soon(start_service: StartService, begun: bool, origin: bytes) -> None:
    service = await start_service(heartbeat_seconds=60, cors_origins="https://app.example")
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        writers = []
        for _ in range(LEFT_STREAMS):
            reader, writer = await connect(service.url)
            writer.write(b"GET /v1/stream?after=head HTTP/1.1\r\n" + HOST + origin + b"\r\n")
            if begun:
                await reader.readuntil(b"event: caught-up\n")
            writers.append(writer)
        if begun:
            await until(lambda: streams_open(client, LEFT_STREAMS))
        for writer in writers:
            writer.close()
        await until(lambda: streams_open(client, 0), seconds=LEFT_SECONDS)
