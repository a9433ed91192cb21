"""`GET /v1/facts`: caching and compression of pages."""

from __future__ import annotations

import gzip
from importlib.util import find_spec

import httpx
import pytest

from tests.conformance.wire import eventually, fact, publish, publish_many

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


async def page_as(client: httpx.AsyncClient, namespace: str, coding: str) -> tuple[httpx.Response, bytes]:
    """The answer, and its body as it was sent."""
    request = client.build_request(
        "GET", "/v1/facts", params={"namespace": namespace}, headers={"accept-encoding": coding}
    )
    response = await client.send(request, stream=True)
    sent = b"".join([piece async for piece in response.aiter_raw()])
    await response.aclose()
    assert response.status_code == 200
    return response, sent


@pytest.mark.case("read-cache-control")
async def test_a_page_is_private_and_always_revalidated(client: httpx.AsyncClient, namespace: str) -> None:
    response = await client.get("/v1/facts", params={"namespace": namespace})
    directives = {part.strip() for part in response.headers["cache-control"].split(",")}
    assert directives == {"private", "no-cache"}
    varies = {part.strip().lower() for part in response.headers["vary"].split(",")}
    assert "accept-encoding" in varies


@pytest.mark.case("read-etag")
@pytest.mark.parametrize("known", ["{etag}", '"other", {etag}', "W/{etag}", "*"])
async def test_an_unchanged_page_is_not_sent_again(client: httpx.AsyncClient, namespace: str, known: str) -> None:
    answer = await publish(client, fact(namespace))
    parameters = {"namespace": namespace, "until": answer["cursor"]}

    async def ask_twice() -> httpx.Response:
        etag = (await client.get("/v1/facts", params=parameters)).headers["etag"]
        assert etag.startswith('"')
        return await client.get("/v1/facts", params=parameters, headers={"if-none-match": known.format(etag=etag)})

    # The head is part of the page, and a foreign log may move it between the two.
    again = await eventually(ask_twice, lambda response: response.status_code == 304)
    assert again.content == b""
    assert {"etag", "vary", "cache-control"} <= set(again.headers)


@pytest.mark.case("read-etag-changes")
async def test_a_changed_page_has_another_etag(client: httpx.AsyncClient, namespace: str) -> None:
    first = await client.get("/v1/facts", params={"namespace": namespace})
    await publish(client, fact(namespace))
    headers = {"if-none-match": first.headers["etag"]}
    second = await client.get("/v1/facts", params={"namespace": namespace}, headers=headers)
    assert second.status_code == 200
    assert second.headers["etag"] != first.headers["etag"]


@pytest.mark.case("read-etag-per-coding")
async def test_each_coding_of_a_page_has_an_etag_of_its_own(client: httpx.AsyncClient, namespace: str) -> None:
    await publish_many(client, namespace, 50)
    responses = [(await page_as(client, namespace, coding))[0] for coding in ("identity", "gzip", "zstd")]
    assert len({response.headers["etag"] for response in responses}) == 3


@pytest.mark.case("read-gzip")
async def test_a_page_is_compressed_with_gzip_where_accepted(client: httpx.AsyncClient, namespace: str) -> None:
    await publish_many(client, namespace, 50)
    response, sent = await page_as(client, namespace, "gzip")
    assert response.headers["content-encoding"] == "gzip"
    _, plain = await page_as(client, namespace, "identity")
    assert gzip.decompress(sent)[:1000] == plain[:1000]
    assert len(sent) < len(plain)


@pytest.mark.case("read-zstd")
async def test_a_page_is_compressed_with_zstd_where_accepted(client: httpx.AsyncClient, namespace: str) -> None:
    ids = await publish_many(client, namespace, 50)
    response, sent = await page_as(client, namespace, "zstd")
    assert response.headers["content-encoding"] == "zstd"
    assert sent.startswith(ZSTD_MAGIC)
    if find_spec("zstandard"):
        decoded = await client.get("/v1/facts", params={"namespace": namespace}, headers={"accept-encoding": "zstd"})
        assert [one["id"] for one in decoded.json()["facts"]] == ids


@pytest.mark.case("read-uncompressed")
@pytest.mark.parametrize("coding", ["identity", "", "gzip;q=0", "gzip;q=0, zstd;q=0", "br"])
async def test_a_page_is_sent_plain_where_nothing_is_accepted(
    client: httpx.AsyncClient, namespace: str, coding: str
) -> None:
    await publish_many(client, namespace, 50)
    response, sent = await page_as(client, namespace, coding)
    assert "content-encoding" not in response.headers
    assert sent.startswith(b"{")
