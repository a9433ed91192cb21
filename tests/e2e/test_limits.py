"""Limits of addresses and principals: who asks for more is told when to come back, and nobody else notices."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.access.keys import EVERYTHING_GRANTED, known, make_key, new_client
from tests.conftest import StartService
from tests.e2e.wire import connect, streaming
from tests.support.builders import new_fact, publication
from tests.support.service import ServiceProcess
from tests.support.waiting import until

CLIENT, OTHER_CLIENT = "203.0.113.7", "203.0.113.8"
LIMIT = 5
LEFT = re.compile(r"r=(\d+);t=\d+")


def asking_for(service: ServiceProcess, address: str) -> httpx.AsyncClient:
    """A client behind a proxy that the service trusts."""
    headers = {"x-forwarded-for": f"198.51.100.1, {address}"}
    return httpx.AsyncClient(base_url=service.url, headers=headers, timeout=30, verify=False)


async def test_requests_of_an_address_beyond_its_limit_are_refused_and_others_are_answered(
    start_service: StartService,
) -> None:
    service = await start_service(auth="none", address_requests_per_second=LIMIT, trusted_proxies="127.0.0.1")
    async with asking_for(service, CLIENT) as client, asking_for(service, OTHER_CLIENT) as other:
        answers = [await client.post("/v1/facts", json=publication()) for _ in range(LIMIT)]
        answers += await asyncio.gather(*(client.get("/v1/nowhere") for _ in range(4 * LIMIT)))
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        for answer in refused:
            assert answer.headers["retry-after"] == "1"
            assert answer.json()["type"] == "urn:factwire:problem:rate-limited"
            assert answer.json()["limit"] == "address_requests_per_second"
        assert (await other.post("/v1/facts", json=publication())).status_code == 201
        for path in ("/livez", "/readyz", "/metrics"):
            assert [(await client.get(path)).status_code for _ in range(2 * LIMIT)] == [200] * 2 * LIMIT

        async def is_let_in_again() -> bool:
            return (await client.get("/v1/position")).status_code == 200

        await until(is_let_in_again)


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_each_answer_says_what_is_left_of_each_rate(start_service: StartService, method: str) -> None:
    service = await start_service(
        auth="none", address_requests_per_second=LIMIT, address_bytes_per_second=1000, address_facts_per_second=10
    )
    path, body = ("/v1/facts", json.dumps(publication())) if method == "POST" else ("/v1/position", None)
    headers = {"content-type": "application/json"} if body else {}
    async with httpx.AsyncClient(base_url=service.url, timeout=30, headers=headers) as client:
        answers = [await client.request(method, path, content=body) for _ in range(LIMIT + 1)]
        policies = {answer.headers["ratelimit-policy"] for answer in answers}
        assert policies == {
            f'"address_requests_per_second";q={LIMIT};w=1;qu="requests", '
            '"address_bytes_per_second";q=10000;w=10;qu="content-bytes", '
            '"address_facts_per_second";q=100;w=10;qu="facts"'
        }
        left = [[int(value) for value in LEFT.findall(answer.headers["ratelimit"])] for answer in answers]
        refused = [each for each, answer in zip(left, answers, strict=True) if answer.status_code == 429]
        assert [requests for requests, _, _ in refused] == [0] * len(refused)
        assert max(requests for requests, _, _ in left) == LIMIT - 1
        used = len(answers[0].request.content)
        written = len(answers) - len(refused)
        assert left[-1][1:] == ([10_000 - written * used, 100 - written] if method == "POST" else [10_000, 100])


async def test_where_nothing_is_limited_nothing_is_said_of_it(client: httpx.AsyncClient) -> None:
    for answer in (await client.get("/v1/position"), await client.post("/v1/facts", json=publication())):
        assert not [name for name in answer.headers if name.startswith("ratelimit")]


async def test_a_forged_header_makes_nobody_somebody_else(start_service: StartService) -> None:
    service = await start_service(auth="none", address_requests_per_second=LIMIT)
    async with asking_for(service, CLIENT) as client, asking_for(service, OTHER_CLIENT) as other:
        answers = await asyncio.gather(
            *(each.get("/v1/position") for each in (client, other) for _ in range(3 * LIMIT))
        )
        assert [answer.status_code for answer in answers].count(200) <= 2 * LIMIT  # a second may have gone by


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_bytes_beyond_the_limit_are_refused_before_the_next_body_is_read(
    start_service: StartService, framing: str
) -> None:
    service = await start_service(auth="none", address_bytes_per_second=1000)
    body = json.dumps(publication(new_fact(payload="x" * 20_000))).encode()

    async def chunks() -> AsyncIterator[bytes]:
        yield body

    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        headers = {"content-type": "application/json"}
        content = body if framing == "length" else chunks()
        assert (await client.post("/v1/facts", content=content, headers=headers)).status_code == 201
        refused = await client.post("/v1/facts", json=publication())
        assert refused.status_code == 429
        assert refused.json()["limit"] == "address_bytes_per_second"
        assert 1 <= int(refused.headers["retry-after"]) <= 10


async def test_facts_beyond_the_limit_are_refused_as_a_whole(start_service: StartService) -> None:
    service = await start_service(auth="none", address_facts_per_second=1)
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        assert (await client.post("/v1/facts", json=publication(*(new_fact() for _ in range(20))))).status_code == 201
        refused = await client.post("/v1/facts", json=publication())
        assert refused.status_code == 429
        assert refused.json()["limit"] == "address_facts_per_second"
        assert (await client.get("/v1/position")).json()["head"] == 20


async def test_an_import_beyond_the_limit_waits_and_loses_nothing(start_service: StartService) -> None:
    service = await start_service(auth="none", address_facts_per_second=60)
    lines = b"".join(json.dumps(new_fact()).encode() + b"\n" for _ in range(1200))
    async with httpx.AsyncClient(base_url=service.url, timeout=60, verify=False) as client:
        headers = {"content-type": "application/x-ndjson"}
        response = await client.post("/v1/facts/import", content=lines, headers=headers)
        result = json.loads(response.text.splitlines()[-1])["result"]
        assert (result["lines"], result["published"]) == (1200, 1200)
        assert response.elapsed.total_seconds() > 5


async def test_a_stream_beyond_the_limit_is_asked_to_come_back_and_has_its_turn(start_service: StartService) -> None:
    service = await start_service(auth="none", address_streams_max=2)
    async with streaming(service.url) as first, streaming(service.url) as second:
        for each in (first, second):
            await each.read_until(lambda body: b"caught-up" in body)
        async with streaming(service.url) as third:
            body = await third.read_to_the_end()
            assert third.ended_cleanly
            assert re.fullmatch(rb"retry: \d+\n", body)
        async with streaming(service.url.replace("127.0.0.1", "localhost")) as still_third:
            await still_third.read_to_the_end()
            assert still_third.ended_cleanly
        first.writer.close()

        async def has_its_turn() -> bool:
            async with streaming(service.url) as again:
                await again.read_chunk()
                return b":ok" in again.body

        await until(has_its_turn)


async def test_a_stream_that_is_one_request_too_many_is_asked_to_come_back(start_service: StartService) -> None:
    """EventSource never comes back after a 429."""
    service = await start_service(auth="none", address_requests_per_second=1)
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        while (await client.get("/v1/position")).status_code != 429:
            pass
    async with streaming(service.url) as stream:
        assert re.fullmatch(rb"retry: \d+\n", await stream.read_to_the_end())
        assert stream.ended_cleanly


async def test_a_principal_is_limited_wherever_it_comes_from_and_no_other_with_it(start_service: StartService) -> None:
    service = await start_service(
        auth="keys",
        principal_requests_per_second=LIMIT,
        principal_streams_max=1,
        trusted_proxies="127.0.0.0/8",
    )
    busy, quiet = [(await make_key(service.database_url, EVERYTHING_GRANTED)).secret for _ in range(2)]
    await known(service.url, busy, quiet)
    async with new_client(service.url, busy) as client, new_client(service.url, quiet) as other:
        asked = [client.get("/v1/position", headers={"x-forwarded-for": f"192.0.2.{n}"}) for n in range(6 * LIMIT)]
        answers = await asyncio.gather(*asked)
        refused = [answer for answer in answers if answer.status_code == 429]
        assert {answer.json()["limit"] for answer in refused} == {"principal_requests_per_second"}
        assert (await other.get("/v1/position")).status_code == 200
        publishes = await asyncio.gather(*(client.post("/v1/facts", json=publication()) for _ in range(6 * LIMIT)))
        assert {answer.status_code for answer in publishes} >= {429}


async def test_connections_of_one_address_beyond_its_limit_are_closed_and_others_are_served(
    start_service: StartService,
) -> None:
    service = await start_service(auth="none", address_connections_max=10)
    kept = [await connect(service.url) for _ in range(10)]
    for reader, writer in kept:
        writer.write(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    for _ in range(5):
        assert await answered(service.port, source="127.0.0.1") == b""
    assert (await answered(service.port, source="127.0.0.9")).startswith(b"HTTP/1.1 200 ")
    kept[0][1].close()

    async def is_served_again() -> bool:
        return (await answered(service.port, source="127.0.0.1")).startswith(b"HTTP/1.1 200 ")

    await until(is_served_again)
    assert service.log.count("connections are refused: FACTWIRE_ADDRESS_CONNECTIONS_MAX is reached") == 1
    for _, writer in kept:
        writer.close()


async def test_connections_beyond_those_of_the_process_are_closed(start_service: StartService) -> None:
    service = await start_service(auth="none", connections_max=5)
    kept = [await connect(service.url) for _ in range(5)]
    for reader, writer in kept:
        writer.write(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
    assert await answered(service.port, source="127.0.0.9") == b""
    kept[0][1].close()

    async def is_served() -> bool:
        return (await answered(service.port, source="127.0.0.9")).startswith(b"HTTP/1.1 200 ")

    await until(is_served)
    for _, writer in kept:
        writer.close()


async def test_the_address_of_a_client_behind_a_proxy_stands_in_the_log(start_service: StartService) -> None:
    service = await start_service(auth="none", log_requests=True, trusted_proxies="127.0.0.0/8")
    async with asking_for(service, CLIENT) as client:
        await client.get("/v1/position")

    async def is_told() -> bool:
        return f"{CLIENT} anybody GET /v1/position 200" in service.log

    await until(is_told)


async def answered(port: int, *, source: str) -> bytes:
    """What comes back to a request from an address of the loopback network; nothing where the connection is closed."""
    async with asyncio.timeout(10):
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(source, 0), family=socket.AF_INET
            )
        except ConnectionError:
            return b""
        try:
            writer.write(b"GET /v1/position HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()
