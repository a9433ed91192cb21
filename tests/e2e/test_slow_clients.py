"""Clients that send too slowly or too much, do not read, or vanish."""

import asyncio
import json
import re
import socket
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.conftest import StartService
from tests.e2e.wire import connect, streaming
from tests.support.builders import new_fact, publication
from tests.support.waiting import until

LARGE = 256 * 1024


async def test_headers_that_do_not_arrive_in_time_are_refused(start_service: StartService) -> None:
    service = await start_service(header_seconds=1)
    for sent in (b"", b"GET /livez HTTP/1.1\r\nhost: [::]\r\n"):
        reader, writer = await connect(service.url)
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"urn:factwire:problem:request-timeout" in answer
        writer.close()


@pytest.mark.parametrize("complete", [True, False])
async def test_headers_beyond_the_limit_are_refused(start_service: StartService, complete: bool) -> None:
    service = await start_service()
    reader, writer = await connect(service.url)
    writer.write(b"GET /livez HTTP/1.1\r\nhost: [::]\r\nlong: " + b"x" * 40_000 + (b"\r\n\r\n" if complete else b""))
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"urn:factwire:problem:headers-too-large" in answer
    writer.close()


async def test_a_body_that_does_not_arrive_in_time_is_refused(start_service: StartService) -> None:
    service = await start_service(body_seconds=1)
    reader, writer = await connect(service.url)
    writer.write(
        b"POST /v1/facts HTTP/1.1\r\nhost: [::]\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
    )
    assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 408 ")
    writer.close()


@pytest.mark.parametrize("framing", ["content-length: 100000000", "transfer-encoding: chunked"])
async def test_a_body_beyond_the_limit_is_refused_before_it_was_sent(start_service: StartService, framing: str) -> None:
    service = await start_service(body_bytes_max=100_000)
    reader, writer = await connect(service.url)
    writer.write(
        f"POST /v1/facts HTTP/1.1\r\nhost: [::]\r\ncontent-type: application/json\r\n{framing}\r\n\r\n".encode()
    )
    writer.write(b"20000\r\n" + b" " * 0x20000 + b"\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 413 ")
    writer.close()


async def test_a_client_that_does_not_read_is_cut_off_and_holds_up_nobody(start_service: StartService) -> None:
    service = await start_service(stream_send_seconds=2, ring_bytes_max=2 * 1024 * 1024)
    process = psutil.Process(service.pid)
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        async with streaming(service.url) as reading, streaming(service.url) as stalled:
            await stalled.read_until(lambda body: b"caught-up" in body)
            before = process.memory_info().rss
            stalled.reader._transport.pause_reading()  # type: ignore[attr-defined]
            whole = reading.read_until(lambda body: b"\nid: 1:120\n" in body and body.endswith(b"\n\n"), seconds=50)
            all_read = asyncio.create_task(whole)
            for _ in range(120):
                (await client.post("/v1/facts", json=publication(new_fact(payload="x" * LARGE)))).raise_for_status()
            await all_read
            assert reading.positions() == list(range(1, 121))
            await until(lambda: streams_open(client, 1))
            assert process.memory_info().rss - before < 60 * 1024 * 1024
        await until(lambda: streams_open(client, 0))


async def test_a_client_that_reads_slowly_but_steadily_is_not_cut_off(start_service: StartService) -> None:
    """It takes several times the limit to read one page of history, and gets every byte of it."""
    service = await start_service(stream_send_seconds=1)
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        for _ in range(3):
            (await client.post("/v1/facts", json=publication(new_fact(payload="x" * LARGE)))).raise_for_status()
    parts = urlsplit(service.url)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, (parts.hostname, parts.port))
        await loop.sock_sendall(slow, b"GET /v1/stream HTTP/1.1\r\nhost: [::]\r\n\r\n")
        body = b""
        while b"event: caught-up" not in body:
            piece = await asyncio.wait_for(loop.sock_recv(slow, 8 * 1024), 10)
            assert piece, f"the stream was cut after {len(body)} bytes"
            body += piece
            await asyncio.sleep(0.06)
    assert body.count(b"x" * 1000) >= 3


async def test_clients_that_vanish_are_forgotten(start_service: StartService) -> None:
    service = await start_service()
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        connections = [await connect(service.url) for _ in range(20)]
        for _, writer in connections:
            writer.write(b"GET /v1/stream HTTP/1.1\r\nhost: [::]\r\n\r\n")
        await until(lambda: streams_open(client, 20))
        for index, (_, writer) in enumerate(connections):
            if index % 2:
                writer.transport.abort()
            else:
                writer.close()
        await until(lambda: streams_open(client, 0))


async def test_a_half_sent_publish_writes_nothing(start_service: StartService) -> None:
    service = await start_service()
    body = json.dumps(publication()).encode()
    _, writer = await connect(service.url)
    length = f"content-length: {len(body)}\r\n\r\n"
    head = f"POST /v1/facts HTTP/1.1\r\nhost: [::]\r\ncontent-type: application/json\r\n{length}"
    writer.write(head.encode() + body[:-1])
    await writer.drain()
    writer.transport.abort()
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        assert (await client.post("/v1/facts", json=publication())).json()["position"] == 1


async def streams_open(client: httpx.AsyncClient, count: int) -> bool:
    found = re.findall(r"^factwire_open_streams{.*} (\S+)$", (await client.get("/metrics")).text, re.MULTILINE)
    return sum(map(float, found)) == count
