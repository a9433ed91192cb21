"""Connections that would last for ever: those that send nothing of use, and those that do not read."""

import asyncio
import json
import re
from collections.abc import AsyncIterator

import httpx
import psutil
import pytest

from tests.conftest import StartService
from tests.e2e.wire import connect
from tests.support.builders import new_fact, publication
from tests.support.service import ServiceProcess
from tests.support.waiting import until

JSON_HEAD = b"POST /v1/facts HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
ASKED = b"GET /v1/position HTTP/1.1\r\nhost: localhost\r\n\r\n"
NO_HOST = b"POST /v1/facts HTTP/1.1\r\n\r\n"
MANY_HEADERS = b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"a:\r\n" * 1000 + b"\r\n"
DRIBBLE_SECONDS = 0.1

# The service as it is, but for the time that a client has to read: 30 s by default.
IMPATIENT = """
import factwire.cli.main, factwire.server.uvicorn_protocol.timeouts
factwire.server.uvicorn_protocol.timeouts.UNREAD_SECONDS = 3.0
factwire.cli.main.main(['serve'])
"""


async def sent_until_closed(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, piece: bytes, *, seconds: float = 20
) -> bytes:
    """Send a piece again and again until the service closes the connection, and return what it said."""

    async def send() -> None:
        while True:
            writer.write(piece)
            await asyncio.sleep(DRIBBLE_SECONDS)

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(seconds):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        sending.cancel()
        writer.close()


async def test_headers_that_dribble_in_are_refused_in_time(start_service: StartService) -> None:
    service = await start_service(header_seconds=1)
    reader, writer = await connect(service.url)
    writer.write(b"GET /v1/position HTTP/1.1\r\nhost: localhost\r\n")
    assert (await sent_until_closed(reader, writer, b"x: y\r\n")).startswith(b"HTTP/1.1 408 ")


async def test_line_breaks_between_two_requests_keep_no_connection_open(start_service: StartService) -> None:
    service = await start_service(header_seconds=1)
    reader, writer = await connect(service.url)
    writer.write(ASKED)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in await sent_until_closed(reader, writer, b"\r\n")


async def test_a_connection_without_a_request_is_closed_in_time(start_service: StartService) -> None:
    service = await start_service(keep_alive_seconds=1)
    reader, writer = await connect(service.url)
    writer.write(ASKED)
    assert (await answer(reader)).startswith(b"HTTP/1.1 200 ")
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


@pytest.mark.parametrize("framing", [b"content-length: 1000000\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n"])
async def test_a_body_that_dribbles_in_is_refused_in_time(start_service: StartService, framing: bytes) -> None:
    service = await start_service(body_seconds=1)
    reader, writer = await connect(service.url)
    writer.write(JSON_HEAD + framing)
    piece = b" " if b"length" in framing else b"1\r\n \r\n"
    assert (await sent_until_closed(reader, writer, piece)).startswith(b"HTTP/1.1 408 ")


async def test_the_rest_of_a_body_that_nobody_wants_keeps_no_connection_open(start_service: StartService) -> None:
    service = await start_service(body_seconds=1)
    reader, writer = await connect(service.url)
    writer.write(b"POST /v1/nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n")
    assert (await sent_until_closed(reader, writer, b" ")).startswith(b"HTTP/1.1 404 ")


async def test_lines_of_an_import_that_never_end_are_refused_in_time(start_service: StartService) -> None:
    service = await start_service(body_seconds=1)
    reader, writer = await connect(service.url)
    head = b"POST /v1/facts/import HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n"
    line = json.dumps(new_fact()).encode() + b"\n"
    writer.write(head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(line), line))
    told = await sent_until_closed(reader, writer, b"1\r\n \r\n")
    assert b"urn:factwire:problem:request-timeout" in told


async def test_an_import_whose_lines_come_slowly_but_whole_goes_on(start_service: StartService) -> None:
    service = await start_service(body_seconds=1)

    async def lines() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield json.dumps(new_fact()).encode() + b"\n"
            await asyncio.sleep(0.5)

    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        response = await client.post(
            "/v1/facts/import", content=lines(), headers={"content-type": "application/x-ndjson"}
        )
        assert json.loads(response.text.splitlines()[-1])["result"]["published"] == 5


async def test_what_stands_behind_a_body_is_refused_and_nothing_comes_after_it(start_service: StartService) -> None:
    service = await start_service()
    body = json.dumps(publication()).encode()
    reader, writer = await connect(service.url)
    writer.write(JSON_HEAD + b"content-length: %d\r\n\r\n%b" % (len(body), body + b"}}}}"))
    answer = await asyncio.wait_for(reader.read(), 10)
    assert b"HTTP/1.1 400 " in answer
    assert answer.endswith(b"}")
    assert b"urn:factwire:problem:malformed-request" in answer
    assert "Invalid HTTP" not in service.log
    writer.close()


@pytest.mark.parametrize(
    "framing",
    [
        b"content-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"content-length: -1\r\n\r\n",
        b"content-length: 5x\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ],
)
async def test_a_body_whose_length_is_in_doubt_is_refused(start_service: StartService, framing: bytes) -> None:
    service = await start_service(header_seconds=2, body_seconds=2)
    reader, writer = await connect(service.url)
    writer.write(JSON_HEAD + framing)
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 408 ")), answer
    writer.close()


@pytest.mark.parametrize("hosts", [b"", b"host: localhost\r\nhost: localhost\r\n", b"Host: a\r\nx: y\r\nHOST: \r\n"])
@pytest.mark.parametrize("request_line", [b"GET /livez", b"POST /v1/facts"])
async def test_a_request_whose_host_is_in_doubt_is_refused(
    start_service: StartService, request_line: bytes, hosts: bytes
) -> None:
    service = await start_service()
    body = json.dumps(publication()).encode()
    lines = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    reader, writer = await connect(service.url)
    writer.write(request_line + b" HTTP/1.1\r\n" + hosts + lines + body + ASKED)
    told = await asyncio.wait_for(reader.read(), 10)
    assert re.findall(rb"HTTP/1.1 (\d+) ", told) == [b"400"]
    assert b"urn:factwire:problem:malformed-request" in told
    writer.close()
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        assert (await client.get("/v1/position")).json()["head"] == 0


async def test_a_request_of_http_1_0_needs_no_host_but_has_at_most_one(start_service: StartService) -> None:
    service = await start_service()
    for hosts, status in ((b"", b"200"), (b"host: a\r\n", b"200"), (b"host: a\r\nhost: b\r\n", b"400")):
        reader, writer = await connect(service.url)
        writer.write(b"GET /livez HTTP/1.0\r\n" + hosts + b"\r\n")
        assert (await asyncio.wait_for(reader.read(), 10)).split()[1] == status
        writer.close()


async def test_headers_behind_a_body_are_neither_kept_nor_believed(start_service: StartService) -> None:
    service = await start_service(auth="keys")
    reader, writer = await connect(service.url)
    writer.write(JSON_HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
    pad = b"x: %b\r\n" % (b"y" * 1000)
    assert b" 201 " not in await sent_until_closed(reader, writer, b"authorization: Bearer fw_x\r\n" + pad)


@pytest.mark.parametrize("line", [b"a:\r\n", b"a: b\r\n"])
@pytest.mark.parametrize("complete", [True, False])
async def test_too_many_headers_are_refused_while_they_arrive(
    start_service: StartService, line: bytes, complete: bool
) -> None:
    service = await start_service(header_seconds=60, headers_max=50)
    reader, writer = await connect(service.url)
    writer.write(b"GET /v1/position HTTP/1.1\r\nhost: localhost\r\n" + line * 51 + (b"\r\n" if complete else b""))
    told = await asyncio.wait_for(reader.read(), 10)
    assert told.startswith(b"HTTP/1.1 431 ")
    assert b"urn:factwire:problem:headers-too-large" in told
    writer.close()


async def test_as_many_headers_as_the_limit_says_are_taken(start_service: StartService) -> None:
    service = await start_service(headers_max=50)
    reader, writer = await connect(service.url)
    for _ in range(2):  # each request has so many of its own
        writer.write(ASKED[:-2] + b"a:\r\n" * 49 + b"\r\n")
        assert (await answer(reader)).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_the_beginning_of_a_request_behind_a_large_one_is_not_counted_with_it(
    start_service: StartService,
) -> None:
    service = await start_service()
    reader, writer = await connect(service.url)
    writer.write(publishing(new_fact(payload="x" * 80_000)) + ASKED[:-10])
    assert (await answer(reader)).startswith(b"HTTP/1.1 201 ")
    writer.write(ASKED[-10:])
    assert (await answer(reader)).startswith(b"HTTP/1.1 200 ")
    writer.close()


@pytest.mark.parametrize(
    "behind",
    [b"junk\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nx: " + b"y" * 80_000, MANY_HEADERS, NO_HOST],
)
async def test_a_refusal_does_not_take_the_place_of_the_answer_before_it(
    start_service: StartService, behind: bytes
) -> None:
    service = await start_service(header_seconds=3)
    fact = new_fact()
    reader, writer = await connect(service.url)
    writer.write(publishing(fact) + behind)
    assert (await answer(reader)).startswith(b"HTTP/1.1 201 ")
    assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 4")
    writer.close()
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        assert (await client.get(f"/v1/facts/{fact['id']}")).is_success


async def test_large_headers_that_begin_behind_a_request_are_counted_as_a_whole(start_service: StartService) -> None:
    service = await start_service()
    reader, writer = await connect(service.url)
    writer.write(publishing(new_fact()) + ASKED[:-2] + b"x: " + b"y" * 30_000)
    assert (await answer(reader)).startswith(b"HTTP/1.1 201 ")
    writer.write(b"y" * 30_000 + b"\r\n\r\n")
    assert (await answer(reader)).startswith(b"HTTP/1.1 431 ")
    writer.close()


@pytest.mark.parametrize(
    "refused", [MANY_HEADERS, b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 40_000 + b"\r\n\r\n"]
)
async def test_a_request_behind_one_that_is_refused_does_not_take_its_answer(
    start_service: StartService, refused: bytes
) -> None:
    service = await start_service()
    reader, writer = await connect(service.url)
    writer.write(publishing(new_fact()) + refused + ASKED)
    told = await asyncio.wait_for(reader.read(), 10)
    assert re.findall(rb"HTTP/1.1 (\d+) ", told) == [b"201", b"431"]
    writer.close()


async def test_a_request_that_is_begun_behind_a_long_poll_does_not_take_its_answer(start_service: StartService) -> None:
    service = await start_service(header_seconds=1)
    reader, writer = await connect(service.url)
    writer.write(b"GET /v1/facts?wait_seconds=3 HTTP/1.1\r\nhost: localhost\r\n\r\nGET /v1")
    assert (await answer(reader)).startswith(b"HTTP/1.1 200 ")
    assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 408 ")
    writer.close()


def publishing(fact: dict[str, object]) -> bytes:
    body = json.dumps(publication(fact)).encode()
    return JSON_HEAD + b"content-length: %d\r\n\r\n%b" % (len(body), body)


async def answer(reader: asyncio.StreamReader) -> bytes:
    """One answer, with its body."""
    async with asyncio.timeout(15):
        head = await reader.readuntil(b"\r\n\r\n")
        [length] = re.findall(rb"content-length: (\d+)", head)
        return head + await reader.readexactly(int(length))


async def test_a_client_that_pipelines_without_end_and_reads_nothing_is_cut_off(start_service: StartService) -> None:
    service = await start_service()
    process = psutil.Process(service.pid)
    before = process.memory_info().rss
    reader, writer = await connect(service.url)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    async with asyncio.timeout(50):
        try:
            while True:
                writer.write(ASKED * 1000)
                await writer.drain()
        except ConnectionError:
            pass
    assert process.memory_info().rss - before < 40 * 1024 * 1024
    await is_served(service)


async def test_a_client_that_asks_for_much_and_reads_nothing_is_cut_off(start_service: StartService) -> None:
    service = await start_service(command=("-c", IMPATIENT))
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        for _ in range(4):
            (await client.post("/v1/facts", json=publication(new_fact(payload="x" * 900_000)))).raise_for_status()
    reader, writer = await connect(service.url)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(3):
        writer.write(b"GET /v1/facts HTTP/1.1\r\nhost: localhost\r\n\r\n")
    await until(lambda: is_open(service, writer, True))
    await until(lambda: is_open(service, writer, False), seconds=30)
    writer.close()
    await is_served(service)


async def is_open(service: ServiceProcess, writer: asyncio.StreamWriter, expected: bool) -> bool:
    """Whether the service holds the other end of a connection."""
    ports = {each.raddr[1] for each in psutil.Process(service.pid).net_connections() if len(each.raddr)}
    return (local_port(writer) in ports) == expected


def local_port(writer: asyncio.StreamWriter) -> int:
    port: int = writer.get_extra_info("sockname")[1]
    return port


async def is_served(service: ServiceProcess) -> None:
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        assert (await client.post("/v1/facts", json=publication())).is_success
