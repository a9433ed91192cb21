"""Payloads come back as they were sent, by every way to read them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable

import httpx
import pytest

from tests.conformance.spelling import elements, members
from tests.conformance.streams import follow
from tests.conformance.wire import JSON, NDJSON, answered, publish_many

EXACT = {
    "key-order": b'{"z":1,"a":2,"m":{"y":1,"b":2}}',
    "duplicate-keys": b'{"a":1,"a":2,"b":{"c":1,"c":[]},"a":3}',
    "trailing-zero": b"1.10",
    "huge-exponent": b"1e400",
    "tiny-exponent": b"-0.0E-999",
    "forty-digits": b"1234567890123456789012345678901234567890",
    "forty-decimals": b"0.1234567890123456789012345678901234567890",
    "negative-zero": b"-0",
    "numbers-in-an-array": b"[1.0,1,1E2,1e+2,100]",
    "escaped-nul": b'"\\u0000"',
    "escaped-nul-in-a-key": b'{"\\u0000":"\\u0000"}',
    "lone-surrogate": b'"\\ud800"',
    "lone-low-surrogate": b'{"\\uDC00":"\\udfff x"}',
    "surrogate-pair": b'"\\ud83e\\udd8a"',
    "escapes-of-each-kind": b'"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u00E9\\u002f"',
    "escaped-ascii": b'"\\u0041A"',
    "non-ascii": '{"naïve":"☃ 🦊 é"}'.encode(),
    "line-separators": '"a\u2028b\u2029c\u0085d"'.encode(),
    "del-and-nbsp": '"\u007f\u00a0\ufeff"'.encode(),
    "blanks-between-tokens": b'{ "a" :  1 ,\t"b":[ ] }',
    "empty-object": b"{}",
    "empty-array": b"[]",
    "empty-string": b'""',
    "null": b"null",
    "true": b"true",
    "false": b"false",
    "text-like-sql": b'"\'); drop table facts; -- $1 %s {}"',
    "text-like-a-frame": b'"\\n\\nid: 1:1\\ndata: x\\n\\n"',
    "deep": b"[" * 100 + b"]" * 100,
    "long": b'"' + b"x" * 200_000 + b'"',
}

LINE_BREAKS = {
    "line-feeds": (b'{\n  "a": [\n1,\n2]\n}', b'{   "a": [ 1, 2] }'),
    "carriage-returns": (b'{\r"a":\r1}', b'{ "a": 1}'),
    "both": (b'{\r\n"a":1\r\n}', b'{  "a":1  }'),
}

Read = Callable[[httpx.AsyncClient, str, str], Awaitable[bytes]]


async def from_page(client: httpx.AsyncClient, namespace: str, id_: str) -> bytes:
    response = await client.get("/v1/facts", params={"namespace": namespace})
    answered(response)
    (document,) = elements(members(response.content)["facts"])
    return document


async def from_search(client: httpx.AsyncClient, namespace: str, id_: str) -> bytes:
    response = await client.post("/v1/facts/search", json={"items": [{"namespaces": [namespace]}]})
    answered(response)
    (document,) = elements(members(response.content)["facts"])
    return document


async def from_id(client: httpx.AsyncClient, namespace: str, id_: str) -> bytes:
    response = await client.get(f"/v1/facts/{id_}")
    assert response.status_code == 200
    return response.content


async def from_position(client: httpx.AsyncClient, namespace: str, id_: str) -> bytes:
    position = int(members(await from_id(client, namespace, id_))["position"])
    response = await client.get(f"/v1/facts/at/{position}")
    assert response.status_code == 200
    return response.content


async def from_export(client: httpx.AsyncClient, namespace: str, id_: str) -> bytes:
    response = await client.get("/v1/facts/export", params={"namespace": namespace})
    assert response.status_code == 200
    assert response.content.endswith(b"\n")
    assert response.content.count(b"\n") == 1
    return response.content


async def from_history(client: httpx.AsyncClient, namespace: str, id_: str) -> bytes:
    async with follow(str(client.base_url).rstrip("/"), {"namespace": namespace}) as stream:
        return (await stream.next_fact()).data


every_way_to_read = pytest.mark.parametrize(
    "way", [from_page, from_search, from_id, from_position, from_export, from_history], ids=lambda way: way.__name__
)


async def publish_spelled(client: httpx.AsyncClient, namespace: str, payload: bytes) -> str:
    id_ = str(uuid.uuid4())
    fact = b'{"namespace":"%b","type":"Noted","id":"%b","payload":%b}' % (namespace.encode(), id_.encode(), payload)
    response = await client.post("/v1/facts", content=b'{"facts":[%b]}' % fact, headers=JSON)
    answered(response, 201)
    return id_


@pytest.mark.case("payload-is-value-exact")
@every_way_to_read
@pytest.mark.parametrize("payload", EXACT.values(), ids=EXACT)
async def test_a_payload_comes_back_as_it_was_sent(
    client: httpx.AsyncClient, namespace: str, payload: bytes, way: Read
) -> None:
    id_ = await publish_spelled(client, namespace, payload)
    assert members(await way(client, namespace, id_))["payload"] == payload


@pytest.mark.case("payload-line-breaks-become-spaces")
@every_way_to_read
@pytest.mark.parametrize(("payload", "expected"), LINE_BREAKS.values(), ids=LINE_BREAKS)
async def test_line_breaks_between_tokens_become_spaces(
    client: httpx.AsyncClient, namespace: str, payload: bytes, expected: bytes, way: Read
) -> None:
    id_ = await publish_spelled(client, namespace, payload)
    assert members(await way(client, namespace, id_))["payload"] == expected


@pytest.mark.case("payload-is-value-exact-live")
async def test_a_live_payload_comes_back_as_it_was_sent(
    client: httpx.AsyncClient, base_url: str, namespace: str
) -> None:
    async with follow(base_url, {"namespace": namespace, "after": "head"}) as stream:
        await stream.take_until_caught_up()
        for payload in EXACT.values():
            await publish_spelled(client, namespace, payload)
            assert members((await stream.next_fact()).data)["payload"] == payload


@pytest.mark.case("payload-is-value-exact-imported")
@pytest.mark.parametrize("payload", EXACT.values(), ids=EXACT)
async def test_an_imported_payload_comes_back_as_it_was_sent(
    client: httpx.AsyncClient, namespace: str, payload: bytes
) -> None:
    line = b'{"namespace":"%b","type":"Noted","payload":%b}\n' % (namespace.encode(), payload)
    response = await client.post("/v1/facts/import", content=line, headers=NDJSON)
    assert "result" in json.loads(response.content.splitlines()[-1])
    assert members(await from_export(client, namespace, ""))["payload"] == payload


@pytest.mark.case("payload-retry-spelled-otherwise")
@pytest.mark.parametrize(("first", "second"), [(b"1.10", b"1.1"), (b'"\\u0041"', b'"A"'), (b"[1]", b"[ 1]")])
async def test_a_retry_whose_payload_is_spelled_otherwise_is_a_conflict(
    client: httpx.AsyncClient, namespace: str, first: bytes, second: bytes
) -> None:
    id_ = await publish_spelled(client, namespace, first)
    body = b'{"facts":[{"namespace":"%b","type":"Noted","id":"%b","payload":%b}]}'
    response = await client.post("/v1/facts", content=body % (namespace.encode(), id_.encode(), second), headers=JSON)
    assert response.status_code == 409


@pytest.mark.case("payload-is-the-same-everywhere")
async def test_a_fact_is_the_same_bytes_by_every_way(client: httpx.AsyncClient, namespace: str) -> None:
    (id_,) = await publish_many(client, namespace, 1, aggregate_ids=["b", "a"], meta={"k": ["y", "x"]})
    document = await from_page(client, namespace, id_)
    for way in (from_search, from_id, from_position, from_export, from_history):
        assert (await way(client, namespace, id_)).strip() == document
