"""A publish is answered alike on the fast way, past ASGI, and on the long way: no guard is forgotten on either."""

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from factwire.api.middleware.guards import guards_of
from factwire.limits.client_address import Proxies
from factwire.server.fast_publish import FastPublish
from factwire.settings import Settings
from tests.access.keys import EVERY, known, make_key, new_grants
from tests.conftest import StartService
from tests.e2e.wire import connect
from tests.support.certificates import new_authority, new_certificate
from tests.support.service import ServiceProcess

FAST, LONG = "application/json", "application/json; charset=utf-8"  # the fast way takes the plain media type only
DIFFERING = re.compile(rb"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\dt[0-9:.]+z|[0-9a-f]{12}-[0-9a-f]+", re.IGNORECASE)
POSITIONS = re.compile(rb'(?<="position":)\d+|\b1:\d+')
BODY = b'{"facts":[{"namespace":"shop","type":"OrderPlaced","aggregate_ids":["order-1"],"payload":1}]}'

# By the guard that each is for; the rest are for the authorization, the body and the outcome.
REFUSED: dict[str, list[tuple[dict[str, str], bytes]]] = {
    "single_headers": [
        ({"authorization": "Bearer a", "Authorization": "Bearer a"}, BODY),
        ({"last-event-id": "1:1", "Last-Event-ID": "1:2"}, BODY),
        ({"Content-Type": "text/plain"}, BODY),
    ],
    "allowed_host": [({"host": "evil.example"}, BODY)],
    "not_forwarded": [({"x-forwarded-for": "192.0.2.1"}, BODY), ({"via": "1.1 proxy"}, BODY)],
    "same_site": [
        ({"sec-fetch-site": "cross-site"}, BODY),
        ({"origin": "https://evil.example"}, BODY),
        ({"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, BODY),
    ],
    "check_no_coding": [({"content-encoding": "gzip"}, BODY), ({"content-encoding": "identity"}, BODY)],
    "": [
        ({}, BODY),
        ({}, b"{"),
        ({}, b'{"facts":[]}'),
        ({}, b'{"facts":[{"namespace":"shop","type":"T","payload":1,"meta":{"a":1}}]}'),
        ({}, b'{"facts":[{"namespace":"shop","type":"T","payload":"%b"}]}' % (b"x" * 300_000)),
        ({"x-request-id": "given-by-a-client"}, BODY),
        ({"x-request-id": "not an id"}, BODY),
        ({"host": ""}, BODY),
        ({"accept-encoding": "gzip"}, BODY),
        ({"sec-fetch-site": "same-origin"}, BODY),
        ({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, BODY),
    ],
}
CASES = [(headers, body) for cases in REFUSED.values() for headers, body in cases]


async def publish(service: ServiceProcess, media_type: str, headers: Mapping[str, str], body: bytes) -> list[bytes]:
    """The status, the sorted header lines and the body of an answer, without what differs from one to the next."""
    given = {"host": "localhost", "content-type": media_type, "content-length": str(len(body)), **headers}
    lines = [f"{name}: {value}\r\n" for name, value in given.items()]
    reader, writer = await connect(service.url)
    writer.write(f"POST /v1/facts HTTP/1.1\r\n{''.join(lines)}\r\n".encode() + body)
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).splitlines()
        [length] = [int(line.partition(b": ")[2]) for line in head if line.lower().startswith(b"content-length: ")]
        answer = await reader.readexactly(length)
    writer.close()
    named = sorted(line.lower() for line in head[1:] if line and not line.lower().startswith((b"date", b"content-l")))
    return [POSITIONS.sub(b"", DIFFERING.sub(b"", part)) for part in (head[0], *named, answer)]


async def assert_alike(service: ServiceProcess, headers: Mapping[str, str], body: bytes) -> None:
    fast, long = [await publish(service, media_type, headers, body) for media_type in (FAST, LONG)]
    assert fast == long


@pytest.mark.parametrize(("headers", "body"), CASES)
async def test_both_ways_answer_alike_where_the_service_is_open(
    start_service: StartService, headers: dict[str, str], body: bytes
) -> None:
    await assert_alike(await start_service(body_bytes_max=200_000, payload_bytes_max=100_000), headers, body)


async def test_both_ways_answer_alike_with_keys(start_service: StartService) -> None:
    service = await start_service(auth="keys", allowed_hosts="localhost")
    keys = {
        "all": await make_key(service.database_url, new_grants(publish=EVERY, read=EVERY)),
        "of others": await make_key(service.database_url, new_grants(publish=(("other",), ()), read=EVERY)),
        "reader": await make_key(service.database_url, new_grants(read=EVERY)),
        "blind": await make_key(service.database_url, new_grants(publish=EVERY)),
    }
    for key in keys.values():
        await known(service.url, key.secret)
    condition = {"fail_if_match": [{"types": ["Never"], "aggregate_ids": [str(uuid4())]}]}
    conditional = BODY[:-1] + b',"condition":' + json.dumps(condition).encode() + b"}"
    secrets = ["", "Bearer ", "Bearer nonsense", "Basic YTpi", *(f"Bearer {key.secret}" for key in keys.values())]
    for secret in secrets:
        for headers, body in [*CASES, ({}, conditional)]:
            await assert_alike(service, headers | ({"authorization": secret} if secret else {}), body)


async def test_both_ways_answer_alike_over_tls(start_service: StartService, tmp_path: Path) -> None:
    pair = new_certificate(new_authority())
    service = await start_service(
        auth="none",
        tls_certificate_file=pair.write_certificate(tmp_path / "certificate.pem"),
        tls_key_file=pair.write_key(tmp_path / "key.pem"),
    )
    for host in ("facts.example", "localhost"):
        await assert_alike(service, {"host": host}, BODY)


def test_every_guard_of_the_fast_way_has_a_request_that_it_refuses() -> None:
    settings = Settings(database_url="postgresql://localhost", allowed_hosts="facts.example", _env_file=None)  # type: ignore[call-arg, arg-type]
    guards = guards_of(settings, proxies=Proxies(()), quotas=None)
    fast = FastPublish(None, guards, None)._guards  # type: ignore[arg-type]
    assert {guard.__qualname__.partition(".")[0] for guard in fast} == {name for name in REFUSED if name}


async def test_a_namespace_is_refused_before_a_condition_that_makes_no_sense(start_service: StartService) -> None:
    service = await start_service(auth="keys")
    key = await make_key(service.database_url, new_grants(publish=(("shop",), ()), read=EVERY))
    await known(service.url, key.secret)
    body = b'{"facts":[{"namespace":"other","type":"T","payload":1}],"condition":{"fail_if_match":[]}}'
    for media_type in (FAST, LONG):
        answer = await publish(service, media_type, {"authorization": f"Bearer {key.secret}"}, body)
        assert answer[0] == b"HTTP/1.1 403 Forbidden"
        assert b'"pointer":"/facts/0/namespace"' in answer[-1]
