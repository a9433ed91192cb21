"""Requests that offer to go on in another protocol, as every one of Java's HTTP client does."""

import asyncio
import json
from collections.abc import Sequence

import pytest

from tests.support.builders import new_fact, publication
from tests.support.service import ServiceProcess

OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"


def publish_request(*, chunked: bool, offer: bytes = OFFER) -> tuple[bytes, bytes]:
    """The head and the body of a request that publishes one fact."""
    body = json.dumps(publication(new_fact())).encode()
    head = b"POST /v1/facts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + offer
    if chunked:
        half = len(body) // 2
        parts = [b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:], b"")]
        return head + b"Transfer-Encoding: chunked\r\n\r\n", b"".join(parts)
    return head + b"Content-Length: %d\r\n\r\n" % len(body), body


async def send(service: ServiceProcess, *packets: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    for packet in packets:
        writer.write(packet)
        await writer.drain()
        await asyncio.sleep(0.05)  # so that it arrives by itself
    return reader, writer


async def statuses(reader: asyncio.StreamReader, count: int) -> list[int]:
    """The statuses of as many answers as are asked for, each read whole."""
    found = []
    async with asyncio.timeout(10):
        for _ in range(count):
            head = await reader.readuntil(b"\r\n\r\n")
            found.append(int(head.split()[1]))
            lengths = [
                line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
            ]
            await reader.readexactly(int(lengths[0]))
    return found


def cut(request: tuple[bytes, bytes], packets: str) -> Sequence[bytes]:
    head, body = request
    match packets:
        case "one":
            return [head + body]
        case "head and body":
            return [head, body]
        case _:
            return [head[:100], head[100:-3], head[-3:] + body[:40], body[40:]]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("packets", ["one", "head and body", "many"])
async def test_a_body_behind_an_offer_is_read(service: ServiceProcess, packets: str, chunked: bool) -> None:
    reader, writer = await send(service, *cut(publish_request(chunked=chunked), packets))
    assert await statuses(reader, 1) == [201]
    writer.write(b"".join(publish_request(chunked=chunked, offer=b"")))  # the connection goes on
    assert await statuses(reader, 1) == [201]
    writer.close()


async def test_each_of_many_pipelined_offers_is_answered_in_its_turn(service: ServiceProcess) -> None:
    requests = [b"".join(publish_request(chunked=bool(number % 2))) for number in range(50)]
    reads = b"GET /v1/position HTTP/1.1\r\nHost: localhost\r\n" + OFFER + b"\r\n"
    reader, writer = await send(service, b"".join(requests) + reads)
    assert await statuses(reader, 51) == [201] * 50 + [200]
    writer.close()


async def test_an_offer_does_not_keep_a_connection_open_that_is_to_be_closed(service: ServiceProcess) -> None:
    request = b"GET /v1/position HTTP/1.1\r\nHost: localhost\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n"
    reader, writer = await send(service, request)
    assert await statuses(reader, 1) == [200]
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


@pytest.mark.parametrize("upgrade", [b"websocket", b"TLS/1.0", b"h2c, h2c"])
async def test_other_offers_are_not_taken_either(service: ServiceProcess, upgrade: bytes) -> None:
    offer = b"Connection: upgrade\r\nUpgrade: %b\r\n" % upgrade
    reader, writer = await send(service, b"".join(publish_request(chunked=False, offer=offer)))
    assert await statuses(reader, 1) == [201]
    writer.close()


async def test_a_tunnel_is_refused(service: ServiceProcess) -> None:
    reader, writer = await send(service, b"CONNECT other.example:443 HTTP/1.1\r\nHost: other.example\r\n\r\n")
    assert await statuses(reader, 1) == [400]
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def test_what_stands_behind_an_offer_to_close_does_not_take_its_answer(service: ServiceProcess) -> None:
    offer = OFFER.replace(b"Connection: ", b"Connection: close, ")
    reader, writer = await send(service, b"".join(publish_request(chunked=False, offer=offer)) + b"GET / HTTP/1.1\r\n")
    assert await statuses(reader, 1) == [201]
    writer.close()
