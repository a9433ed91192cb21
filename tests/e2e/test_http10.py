"""HTTP/1.0, as old proxies and health checks speak it: no chunks, and the end of a body is that of its connection."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.conftest import StartService
from tests.e2e.wire import connect
from tests.support.builders import new_fact, publication
from tests.support.service import ServiceProcess

LARGE_BYTES = 900_000
SECONDS = 20


@asynccontextmanager
async def asked(
    service: ServiceProcess, request: bytes, body: bytes = b"", *, version: bytes = b"1.0"
) -> AsyncIterator[tuple[list[bytes], asyncio.StreamReader]]:
    """The lines of the head of an answer, and what follows."""
    reader, writer = await connect(service.url)
    method_and_target, _, lines = request.partition(b"\r\n")
    head = b"%b HTTP/%b\r\nHost: 127.0.0.1\r\n%b" % (method_and_target, version, lines)
    writer.write(head + b"content-length: %d\r\n\r\n%b" % (len(body), body))
    try:
        async with asyncio.timeout(SECONDS):
            answered = await reader.readuntil(b"\r\n\r\n")
            yield answered.lower().split(b"\r\n"), reader
    finally:
        writer.close()


def check_head(lines: list[bytes]) -> None:
    """Nothing in it is for HTTP/1.1 only, and its one word on the connection is that it closes."""
    assert lines[0].split()[1] in (b"200", b"201")
    assert not [line for line in lines if line.startswith(b"transfer-encoding")]
    assert [line for line in lines if line.startswith(b"connection")] == [b"connection: close"]


async def events_through(reader: asyncio.StreamReader, line: bytes) -> bytes:
    """What arrives through the end of the event with a line."""
    found = b""
    while not (line in found and found.endswith(b"\n\n")):
        part = await reader.read(64 * 1024)
        assert part, f"it ended after {found[-200:]!r}"
        found += part
    return found


async def publish(service: ServiceProcess, *facts: dict[str, object]) -> None:
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        (await client.post("/v1/facts", json=publication(*facts))).raise_for_status()


@pytest.mark.parametrize("lines", [b"", b"connection: keep-alive\r\n", b"origin: https://app.test\r\n"])
async def test_a_stream_is_not_chunked(start_service: StartService, lines: bytes) -> None:
    service = await start_service(cors_origins="https://app.test")
    await publish(service, new_fact(payload="x" * LARGE_BYTES), new_fact())
    async with asked(service, b"GET /v1/stream\r\n" + lines) as (head, reader):
        check_head(head)
        history = await events_through(reader, b'event: caught-up\ndata: {"position":2,"head":2}\nid: 1:2\n')
        live = b""
        for position, size in ((3, 1), (4, LARGE_BYTES)):  # pushed as one buffer, and as three
            await publish(service, new_fact(payload="y" * size))
            live += await events_through(reader, b"id: 1:%d\n" % position)
    for text in (history, live):
        names = {line.partition(b":")[0] for line in text.splitlines()}
        assert names <= {b"retry", b"", b"event", b"id", b"data"}, names


async def test_a_stream_that_ends_closes_its_connection(start_service: StartService) -> None:
    service = await start_service(stream_age_seconds_max=1)
    async with asked(service, b"GET /v1/stream\r\n") as (head, reader):
        check_head(head)
        assert (await reader.read()).startswith(b"retry: ")


async def test_an_export_is_whole_and_not_chunked(start_service: StartService) -> None:
    service = await start_service()
    for _ in range(4):
        await publish(service, new_fact(payload="x" * LARGE_BYTES))
    async with asked(service, b"GET /v1/facts/export\r\n") as (head, reader):
        check_head(head)
        assert [json.loads(line)["position"] for line in (await reader.read()).splitlines()] == [1, 2, 3, 4]


async def test_an_import_answers_its_result_without_chunks(start_service: StartService) -> None:
    service = await start_service()
    body = b"".join(json.dumps(new_fact()).encode() + b"\n" for _ in range(1000))
    async with asked(service, b"POST /v1/facts/import\r\ncontent-type: application/x-ndjson\r\n", body) as (
        head,
        reader,
    ):
        check_head(head)
        assert json.loads(await reader.read())["result"]["published"] == 1000


async def test_an_answer_with_a_length_keeps_it(service: ServiceProcess) -> None:
    body = json.dumps(publication()).encode()
    async with asked(service, b"POST /v1/facts\r\ncontent-type: application/json\r\n", body) as (head, reader):
        check_head(head)
        [length] = [line.partition(b":")[2] for line in head if line.startswith(b"content-length")]
        assert len(await reader.read()) == int(length)


async def test_a_stream_of_http_1_1_is_chunked_and_says_nothing_about_its_connection(service: ServiceProcess) -> None:
    async with asked(service, b"GET /v1/stream?after=head\r\n", version=b"1.1") as (head, _):
        assert b"transfer-encoding: chunked" in head
        assert not [line for line in head if line.startswith(b"connection")]
