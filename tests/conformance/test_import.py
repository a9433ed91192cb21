"""`POST /v1/facts/import`: facts of any number, a line each."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx
import pytest

from tests.conformance.streams import connected, opened
from tests.conformance.wire import (
    NDJSON,
    TIMEOUT,
    Json,
    fact,
    identified,
    position_of,
    problem,
    publish,
    publish_many,
    read,
)

PROGRESS = {"lines", "published", "replayed", "position", "cursor"}
PROGRESS_SECONDS_MAX = 1.5  # by then a client that is not a proxy was told something


def ndjson(facts: Iterable[Json]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in facts)


async def post(client: httpx.AsyncClient, body: bytes | AsyncIterator[bytes]) -> list[Json]:
    """Import; the lines of the answer, whose last is a result or a problem."""
    response = await client.post("/v1/facts/import", content=body, headers=NDJSON)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/x-ndjson")
    *lines, end = response.content.split(b"\n")
    assert end == b""
    *progress, last = [json.loads(line) for line in lines]
    assert all(set(line) == {"progress"} and set(line["progress"]) == PROGRESS for line in progress)
    return [*progress, last]


async def result(client: httpx.AsyncClient, body: bytes | AsyncIterator[bytes]) -> Json:
    last = (await post(client, body))[-1]
    assert set(last) == {"result"}, last
    assert set(last["result"]) == PROGRESS
    told: Json = last["result"]
    return told


async def refusal(client: httpx.AsyncClient, body: bytes, status: int, code: str) -> Json:
    """The problem that ends an import, with its line."""
    last = (await post(client, body))[-1]
    assert set(last) == {"problem"}, last
    told: Json = last["problem"]
    assert (told["status"], told["type"]) == (status, f"urn:factwire:problem:{code}")
    assert told["title"]
    assert told["detail"]
    assert set(told["progress"]) == PROGRESS
    return told


def counts(told: Json) -> tuple[int, int, int]:
    return told["lines"], told["published"], told["replayed"]


@pytest.mark.case("import-result")
async def test_an_import_ends_with_its_result(client: httpx.AsyncClient, namespace: str) -> None:
    facts = [identified(namespace, aggregate_ids=["a"], meta={"k": "v"}, payload={"n": n}) for n in range(5)]
    told = await result(client, ndjson(facts))
    stored = await read(client, namespace=namespace)
    assert counts(told) == (5, 5, 0)
    assert told["position"] == position_of(told["cursor"]) >= stored[-1]["position"]
    assert [{member: one[member] for member in facts[0]} for one in stored] == facts


@pytest.mark.case("import-of-an-export")
async def test_the_lines_of_an_export_are_taken_as_they_are(client: httpx.AsyncClient, namespace: str) -> None:
    await result(client, ndjson([identified(namespace, meta={"k": ["v", "w"]}, payload={"n": n}) for n in range(3)]))
    exported = (await client.get("/v1/facts/export", params={"namespace": namespace})).content
    assert b'"position":' in exported
    assert counts(await result(client, exported)) == (3, 0, 3)


@pytest.mark.case("import-without-ids")
async def test_lines_without_ids_are_published_too(client: httpx.AsyncClient, namespace: str) -> None:
    told = await result(client, ndjson([fact(namespace), fact(namespace)]))
    assert counts(told) == (2, 2, 0)
    assert len(await read(client, namespace=namespace)) == 2


@pytest.mark.case("import-last-line-without-end")
async def test_the_last_line_needs_no_line_feed(client: httpx.AsyncClient, namespace: str) -> None:
    told = await result(client, ndjson([fact(namespace), fact(namespace)]).rstrip(b"\n"))
    assert counts(told) == (2, 2, 0)


@pytest.mark.case("import-carriage-returns")
async def test_lines_may_end_as_on_windows(client: httpx.AsyncClient, namespace: str) -> None:
    told = await result(client, ndjson([fact(namespace), fact(namespace)]).replace(b"\n", b"\r\n"))
    assert counts(told) == (2, 2, 0)


@pytest.mark.case("import-of-nothing")
async def test_an_import_of_no_lines_publishes_nothing(client: httpx.AsyncClient) -> None:
    assert counts(await result(client, b"")) == (0, 0, 0)


@pytest.mark.case("import-again")
async def test_an_import_again_writes_nothing(client: httpx.AsyncClient, namespace: str) -> None:
    body = ndjson([identified(namespace, payload=n) for n in range(5)])
    first = await result(client, body)
    assert counts(await result(client, body)) == (5, 0, 5)
    assert await read(client, namespace=namespace, after=first["cursor"]) == []


@pytest.mark.case("import-re-cut")
@pytest.mark.parametrize(("start", "end"), [(0, 15), (5, 15), (3, 7), (9, 20)])
async def test_known_and_new_lines_may_be_mixed(
    client: httpx.AsyncClient, namespace: str, start: int, end: int
) -> None:
    facts = [identified(namespace, payload=n) for n in range(20)]
    await result(client, ndjson(facts[:10]))
    known = max(0, 10 - start) - max(0, 10 - end)
    told = await result(client, ndjson(facts[start:end]))
    assert counts(told) == (end - start, end - start - known, known)
    assert [one["payload"] for one in await read(client, namespace=namespace)] == list(range(max(10, end)))


@pytest.mark.case("import-known-lines-among-new-ones")
async def test_every_other_line_may_be_known(client: httpx.AsyncClient, namespace: str) -> None:
    facts = [identified(namespace, payload=n) for n in range(20)]
    await publish(client, *facts[::2])
    assert counts(await result(client, ndjson(facts))) == (20, 10, 10)
    assert len(await read(client, namespace=namespace)) == 20


@pytest.mark.case("import-line-twice")
async def test_a_line_that_comes_twice_is_published_once(client: httpx.AsyncClient, namespace: str) -> None:
    one, other = identified(namespace), identified(namespace)
    told = await result(client, ndjson([one, other, one]))
    assert counts(told) == (3, 2, 1)
    assert len(await read(client, namespace=namespace)) == 2


@pytest.mark.case("import-bad-line")
@pytest.mark.parametrize(
    ("bad", "status", "code"),
    [
        (b"{", 400, "malformed-json"),
        (b"\xff\xfe", 400, "malformed-json"),
        (b'{"namespace":"a","type":"A","payload":1} {}', 400, "malformed-json"),
        (b"[]", 422, "invalid-request"),
        (b"{}", 422, "invalid-request"),
        (b'{"namespace":"a","type":"A b","payload":1}', 422, "invalid-request"),
        (b'{"namespace":"a","type":"A","payload":1,"x":1}', 422, "invalid-request"),
        (b'{"namespace":"factwire","type":"A","payload":1}', 422, "invalid-request"),
        (ndjson([fact("a", aggregate_ids=[str(n) for n in range(33)])])[:-1], 422, "limit-exceeded"),
        (ndjson([fact("a", payload="x" * (1 << 20))])[:-1], 422, "limit-exceeded"),
    ],
    ids=[
        "cut",
        "bytes",
        "trailing",
        "array",
        "empty",
        "bad-name",
        "unknown-member",
        "reserved",
        "many-aggregate-ids",
        "large-payload",
    ],
)
@pytest.mark.parametrize("before", [0, 2])
async def test_a_bad_line_is_named_and_the_lines_before_it_are_kept(
    client: httpx.AsyncClient, namespace: str, bad: bytes, status: int, code: str, before: int
) -> None:
    facts = [identified(namespace, payload=n) for n in range(4)]
    body = ndjson(facts[:before]) + bad + b"\n" + ndjson(facts[before:])
    told = await refusal(client, body, status, code)
    assert told["line"] == before + 1
    assert told["progress"]["published"] == before
    assert [one["payload"] for one in await read(client, namespace=namespace)] == list(range(before))


@pytest.mark.case("import-pointer-is-of-the-line")
async def test_the_pointer_of_a_bad_line_starts_at_the_line(client: httpx.AsyncClient, namespace: str) -> None:
    told = await refusal(client, ndjson([fact(namespace), fact(namespace, version=0)]), 422, "invalid-request")
    assert [error["pointer"] for error in told["errors"]] == ["/version"]


@pytest.mark.case("import-conflicting-line")
async def test_a_line_with_other_content_for_a_known_id_stops_the_import(
    client: httpx.AsyncClient, namespace: str
) -> None:
    facts = [identified(namespace, payload=n) for n in range(4)]
    await publish(client, facts[2])
    told = await refusal(
        client, ndjson([*facts[:2], facts[2] | {"payload": "other"}, facts[3]]), 409, "fact-id-conflict"
    )
    assert (told["line"], told["ids"]) == (3, [facts[2]["id"]])
    assert [one["payload"] for one in await read(client, namespace=namespace)] == [2, 0, 1]


@pytest.mark.case("import-goes-on-after-a-repair")
async def test_an_import_goes_on_after_its_bad_line_was_repaired(client: httpx.AsyncClient, namespace: str) -> None:
    facts = [identified(namespace, payload=n) for n in range(6)]
    broken = ndjson(facts[:3]) + b"{\n" + ndjson(facts[4:])
    assert (await refusal(client, broken, 400, "malformed-json"))["line"] == 4
    assert counts(await result(client, ndjson(facts))) == (6, 3, 3)
    assert [one["payload"] for one in await read(client, namespace=namespace)] == list(range(6))


@pytest.mark.case("import-beyond-the-limits-of-a-request")
async def test_an_import_may_be_larger_than_a_request(client: httpx.AsyncClient, namespace: str) -> None:
    facts = [identified(namespace, payload={"n": n, "text": "x" * 2000}) for n in range(3000)]
    told = await result(client, ndjson(facts))
    assert counts(told) == (3000, 3000, 0)
    assert [one["payload"]["n"] for one in await read(client, namespace=namespace)] == list(range(3000))


@pytest.mark.case("import-in-pieces")
async def test_lines_may_arrive_in_pieces(client: httpx.AsyncClient, namespace: str) -> None:
    body = ndjson([identified(namespace, payload="é☃🦊" * 20) for _ in range(5)])

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    assert counts(await result(client, pieces())) == (5, 5, 0)


@pytest.mark.case("import-progress")
async def test_progress_is_told_at_most_once_a_second_while_lines_arrive(base_url: str, namespace: str) -> None:
    headers = NDJSON | {"transfer-encoding": "chunked"}
    async with connected(base_url, "POST", "/v1/facts/import", headers) as (reader, writer):
        feeding = asyncio.create_task(feed(writer, namespace))
        arrived: list[tuple[float, Any]] = []
        try:
            answer = await opened(reader)
            async with asyncio.timeout(TIMEOUT):
                while len(arrived) < 3:
                    piece = await answer.piece()
                    arrived += [(time.monotonic(), json.loads(line)) for line in piece.splitlines()]
        finally:
            feeding.cancel()
    assert all(set(line["progress"]) == PROGRESS for _, line in arrived)
    lines = [line["progress"]["lines"] for _, line in arrived]
    assert lines == sorted(lines)
    assert arrived[2][0] - arrived[0][0] > 1.5


async def feed(writer: asyncio.StreamWriter, namespace: str) -> None:
    """Send a line after the other until cancelled, at the pace at which they are taken."""
    while True:
        line = ndjson([fact(namespace)])
        writer.write(b"%x\r\n%b\r\n" % (len(line), line))
        await writer.drain()
        await asyncio.sleep(0.001)


@pytest.mark.case("import-through-a-proxy")
@pytest.mark.parametrize(
    "forwarded",
    [{"x-forwarded-for": "192.0.2.1"}, {"x-real-ip": "192.0.2.1"}, {"forwarded": "for=192.0.2.1"}, {"via": "1.1 a"}],
    ids=["x-forwarded-for", "x-real-ip", "forwarded", "via"],
)
async def test_the_answer_to_a_forwarded_import_waits_for_its_last_line(
    base_url: str, namespace: str, forwarded: dict[str, str]
) -> None:
    headers = NDJSON | forwarded | {"transfer-encoding": "chunked"}
    async with connected(base_url, "POST", "/v1/facts/import", headers) as (reader, writer):
        feeding = asyncio.create_task(feed(writer, namespace))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(1), PROGRESS_SECONDS_MAX)
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        writer.write(b"0\r\n\r\n")
        answer = await opened(reader)
        last = json.loads(await answer.piece())
    assert set(last) == {"result"}


@pytest.mark.case("import-beside-publishing")
async def test_an_import_does_not_keep_others_from_publishing(client: httpx.AsyncClient, namespace: str) -> None:
    importing = asyncio.create_task(result(client, ndjson(identified(namespace, payload=n) for n in range(3000))))
    ids = [(await publish_many(client, f"{namespace}.other", 1))[0] for _ in range(10)]
    assert counts(await importing) == (3000, 3000, 0)
    assert [one["id"] for one in await read(client, namespace=f"{namespace}.other")] == ids


@pytest.mark.case("import-media-type")
@pytest.mark.parametrize("media_type", ["application/json", "text/plain", None])
async def test_an_import_of_another_media_type_is_refused(
    client: httpx.AsyncClient, namespace: str, media_type: str | None
) -> None:
    headers = {"content-type": media_type} if media_type else {}
    response = await client.post("/v1/facts/import", content=ndjson([fact(namespace)]), headers=headers)
    problem(response, 415, "unsupported-media-type")
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("import-unknown-parameter")
async def test_an_unknown_parameter_is_refused(client: httpx.AsyncClient, namespace: str) -> None:
    response = await client.post(
        "/v1/facts/import", params={"dry_run": "1"}, content=ndjson([fact(namespace)]), headers=NDJSON
    )
    problem(response, 422, "unknown-parameter")
