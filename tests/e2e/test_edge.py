"""The edge: what a proxy opens unasked, what is answered when there is no room, and what the lines of a log tell."""

import asyncio
import base64
import hashlib
import re
from pathlib import Path

import httpx
import pytest

from tests.access.keys import EVERYTHING_GRANTED, bearer, known, make_key, new_client, new_grants
from tests.conftest import StartService
from tests.e2e.wire import streaming
from tests.support.builders import new_facts, publication
from tests.support.certificates import new_authority, new_certificate

FORWARDED = (
    {"x-forwarded-for": "203.0.113.7"},
    {"forwarded": "for=203.0.113.7"},
    {"x-real-ip": "203.0.113.7"},
    {"via": "1.1 proxy"},
    {"x-forwarded-proto": "https"},
)


@pytest.mark.parametrize("headers", FORWARDED)
async def test_a_proxy_does_not_open_what_nobody_has_said_is_open(
    start_service: StartService, headers: dict[str, str]
) -> None:
    """Neither publishing, also on its shortcut, nor reading nor the page; probes are answered to anybody."""
    service = await start_service(auth=None)
    async with httpx.AsyncClient(base_url=service.url, headers=headers, verify=False) as client:
        for answer in (
            await client.post("/v1/facts", json=publication()),
            await client.get("/v1/facts"),
            await client.get("/v1/stream"),
            await client.get("/"),
        ):
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:factwire:problem:forbidden")
            assert "FACTWIRE_AUTH" in answer.json()["detail"]
        assert (await client.get("/livez")).status_code == 200
    assert service.log.count("requests that a proxy has forwarded are refused") == 1
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        assert (await client.get("/v1/facts")).json()["facts"] == []


async def test_what_was_said_to_be_open_is_so_behind_a_proxy(start_service: StartService) -> None:
    service = await start_service(auth="none")
    async with httpx.AsyncClient(base_url=service.url, headers=FORWARDED[0], verify=False) as client:
        assert (await client.post("/v1/facts", json=publication())).status_code == 201


async def test_probes_are_answered_when_all_connections_are_taken(start_service: StartService) -> None:
    """And nothing else is: each such connection is for one request."""
    service = await start_service(connections_max=5)
    streams = [streaming(service.url) for _ in range(5)]
    for stream in streams:
        await stream.__aenter__()
    try:
        for _ in range(30):
            async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
                for path in ("/livez", "/readyz", "/metrics"):
                    answer = await client.get(path)
                    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
            for path in ("/v1/facts", "/", "/livezz"):
                with pytest.raises(httpx.TransportError):
                    await client.get(path)
        await hold_silent_connections(service.port)
        async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
            assert (await client.get("/livez")).status_code == 200
    finally:
        for stream in streams:
            await stream.__aexit__(None, None, None)


async def hold_silent_connections(port: int) -> None:
    """Take all the room that is kept for probes, which is free again after a second."""
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
    await asyncio.sleep(2)
    for _, writer in opened:
        writer.close()


async def test_the_reference_can_be_framed_by_nobody_and_runs_no_foreign_script(start_service: StartService) -> None:
    service = await start_service()
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        page = await client.get("/docs")
        policy = page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert page.headers["x-frame-options"] == "DENY"
        scripts = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
        assert scripts
        for script in scripts:
            assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
        linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert linked
        for path in linked:
            assert path.startswith("/")
            assert (await client.get(path)).status_code == 200


async def test_the_line_of_a_request_says_who_published_what(start_service: StartService) -> None:
    service = await start_service(auth="keys", log_requests=True)
    made = await make_key(service.database_url, EVERYTHING_GRANTED)
    await known(service.url, made.secret)
    async with new_client(service.url, made.secret) as client:
        first = (await client.post("/v1/facts", json=publication(*new_facts(3)))).json()["facts"]
        lines = b"\n".join(publication_line() for _ in range(4))
        imported = await client.post(
            "/v1/facts/import", content=lines, headers={"content-type": "application/x-ndjson"}
        )
        assert imported.status_code == 200
    async with new_client(service.url) as stranger:
        assert (await stranger.get("/v1/facts")).status_code == 401
    positions = [fact["position"] for fact in first]
    who = f"key:{made.key.id}"
    assert f"127.0.0.1 {who} POST /v1/facts 201" in service.log
    assert f", published {positions[0]}-{positions[-1]}" in service.log
    assert re.search(
        rf"{re.escape(who)} POST /v1/facts/import 200 [\d.]+ ms, published {positions[-1] + 1}-", service.log
    )
    assert "127.0.0.1 - GET /v1/facts 401" in service.log


def publication_line() -> bytes:
    return b'{"namespace":"shop","type":"OrderPlaced","payload":1}'


async def test_refusals_are_counted_by_their_kind(start_service: StartService) -> None:
    service = await start_service(auth="keys")
    reader = await make_key(service.database_url, new_grants(read=(["shop"], [])))
    await known(service.url, reader.secret)
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:

        async def counted(code: str) -> float:
            text = (await client.get("/metrics")).text
            found = re.search(rf'factwire_refused_requests_total{{code="{code}"}} (\S+)', text)
            assert found, code
            return float(found[1])

        before = {code: await counted(code) for code in ("unauthenticated", "forbidden", "rate-limited")}
        assert (await client.get("/v1/facts")).status_code == 401
        for _ in range(2):
            assert (
                await client.post("/v1/facts", json=publication(), headers=bearer(reader.secret))
            ).status_code == 403
        after = {code: await counted(code) - before[code] for code in before}
    assert after == {"unauthenticated": 1, "forbidden": 2, "rate-limited": 0}


async def test_a_service_with_its_own_certificate_asks_for_tls_from_here_on(
    start_service: StartService, tmp_path: Path
) -> None:
    """Not under the name localhost, where a browser would hold it against whatever else listens there."""
    pair = new_certificate(new_authority())
    certificate, key = pair.write_certificate(tmp_path / "certificate.pem"), pair.write_key(tmp_path / "key.pem")
    service = await start_service(auth="none", tls_certificate_file=certificate, tls_key_file=key)
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        for path in ("/", "/docs", "/v1/position", "/v1/facts", "/v1/nowhere", "/livez"):
            for host, told in (("127.0.0.1", True), ("localhost", False), ("a.localhost:8443", False)):
                answer = await client.get(path, headers={"host": host})
                assert ("strict-transport-security" in answer.headers) is told, (path, host)
