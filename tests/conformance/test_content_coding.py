"""`Content-Encoding` of requests: most bodies are taken as they are only, an import also as gzip and zstd."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import re
import sys
import uuid
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import zstandard

from tests.conformance.wire import JSON, NDJSON, TIMEOUT, Json, fact, identified, problem, publish, read

BOMB_GROWTH_BYTES_MAX = 64 << 20
PACKED = zstandard.ZstdCompressor(write_checksum=True)
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "zstd": PACKED.compress,
    "GZIP": gzip.compress,
}


def ndjson(facts: Iterable[Json]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in facts)


async def last_line(client: httpx.AsyncClient, body: bytes | AsyncIterator[bytes], coding: str) -> Json:
    """Import; the result or the problem that ends it."""
    headers = NDJSON | {"content-encoding": coding}
    response = await client.post("/v1/facts/import", content=body, headers=headers)
    assert response.status_code == 200, response.text
    last: Json = json.loads(response.content.splitlines()[-1])
    return last


async def pieces(body: bytes, sizes: Iterable[int]) -> AsyncIterator[bytes]:
    """A body in chunks of these sizes, the rest as the last one."""
    start = 0
    for size in sizes:
        yield body[start : start + size]
        start += size
    if body[start:]:
        yield body[start:]


def in_parts(text: bytes, compress: Callable[[bytes], bytes], count: int) -> bytes:
    """Several members of gzip or frames of zstd one after the other, cut anywhere in the text; one of them is empty."""
    cuts = [0, *(len(text) * number // count + number for number in range(1, count)), len(text)]
    parts = [compress(text[start:end]) for start, end in pairwise(cuts)]
    return b"".join([parts[0], compress(b""), *parts[1:]])


def without_its_size(text: bytes) -> bytes:
    """A frame of zstd that does not say how much is in it, as one that is written as it is made."""
    made = zstandard.ZstdCompressor().compressobj()
    return made.compress(text) + made.flush()


@pytest.mark.case("coding-not-taken")
@pytest.mark.parametrize("coding", ["gzip", "zstd", "br", "deflate", "gzip, zstd", "identity, gzip"])
@pytest.mark.parametrize("is_true", [True, False])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/facts", {"facts": [fact("coded")]}),
        ("/v1/facts/search", {"items": [{}]}),
        ("/v1/stream", {"items": [{}]}),
        ("/v1/tickets", {"items": [{}]}),
        ("/v1/keys", {"name": "coded", "grants": {}}),
        ("/v1/keys/4yTqW0ePzK3c/rotate", {}),
        (f"/v1/facts/{uuid.uuid4()}/redaction", {"reason": "by mistake"}),
    ],
    ids=["publish", "search", "stream", "ticket", "keys", "rotation", "redaction"],
)
async def test_a_body_with_a_coding_is_refused_and_what_is_taken_named(
    client: httpx.AsyncClient, path: str, body: Json, is_true: bool, coding: str
) -> None:
    content = json.dumps(body).encode()
    if is_true:
        content = zstandard.compress(content) if coding == "zstd" else gzip.compress(content)
    response = await client.post(path, content=content, headers=JSON | {"content-encoding": coding})
    problem(response, 415, "unsupported-content-coding")
    assert response.headers["accept-encoding"] == "identity"


@pytest.mark.case("coding-not-taken-of-events")
@pytest.mark.parametrize("media_type", ["application/cloudevents+json", "application/cloudevents-batch+json"])
async def test_an_event_with_a_coding_is_refused(client: httpx.AsyncClient, media_type: str) -> None:
    headers = {"content-type": media_type, "content-encoding": "gzip"}
    response = await client.post("/v1/facts/cloudevents", content=gzip.compress(b"[]"), headers=headers)
    problem(response, 415, "unsupported-content-coding")
    assert response.headers["accept-encoding"] == "identity"


@pytest.mark.case("coding-identity")
@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
async def test_a_body_that_says_it_has_no_coding_is_taken(
    client: httpx.AsyncClient, namespace: str, coding: str
) -> None:
    content = json.dumps({"facts": [fact(namespace)]})
    response = await client.post("/v1/facts", content=content, headers=JSON | {"content-encoding": coding})
    assert response.status_code == 201, response.text
    last = await last_line(client, ndjson([fact(namespace)]), coding)
    assert last["result"]["published"] == 1


@pytest.mark.case("coding-unknown-to-an-import")
@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "zstd;q=1"])
async def test_an_import_of_another_coding_is_told_which_are_taken(
    client: httpx.AsyncClient, namespace: str, coding: str
) -> None:
    headers = NDJSON | {"content-encoding": coding}
    response = await client.post("/v1/facts/import", content=ndjson([fact(namespace)]), headers=headers)
    problem(response, 415, "unsupported-content-coding")
    assert [each.strip() for each in response.headers["accept-encoding"].split(",")] == ["gzip", "zstd"]
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("coding-of-an-import")
@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("parts", [1, 3, 40])
async def test_an_import_is_taken_compressed_in_any_number_of_members_and_pieces(
    client: httpx.AsyncClient, namespace: str, coding: str, parts: int
) -> None:
    facts = [identified(namespace, payload={"n": n, "text": "é☃🦊" * (n % 7)}) for n in range(200)]
    body = in_parts(ndjson(facts), CODINGS[coding], parts)
    chosen = random.Random(parts)
    cuts = [chosen.choice((1, 1, 2, 7, 64, 65, 1000)) for _ in range(60)]
    last = await last_line(client, pieces(body, cuts), coding)
    assert last["result"]["published"] == len(facts)
    assert [one["payload"] for one in await read(client, namespace=namespace)] == [one["payload"] for one in facts]


@pytest.mark.case("coding-cut-anywhere")
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_compressed_import_may_be_cut_into_packets_at_any_byte(
    client: httpx.AsyncClient, namespace: str, coding: str
) -> None:
    known = identified(namespace)
    await publish(client, known)
    body = in_parts(ndjson([known]), CODINGS[coding], 2)
    for cut in range(1, len(body)):
        last = await last_line(client, pieces(body, [cut]), coding)
        assert (last["result"]["lines"], last["result"]["replayed"]) == (1, 1), cut
    last = await last_line(client, pieces(body, [1] * len(body)), coding)
    assert last["result"]["replayed"] == 1


@pytest.mark.case("coding-of-unknown-size")
async def test_a_zstd_frame_need_not_say_its_size(client: httpx.AsyncClient, namespace: str) -> None:
    body = without_its_size(ndjson(identified(namespace) for _ in range(100)))
    assert (await last_line(client, body, "zstd"))["result"]["published"] == 100


@pytest.mark.case("coding-of-nothing")
@pytest.mark.parametrize("coding", CODINGS)
async def test_a_compressed_import_of_nothing_publishes_nothing(client: httpx.AsyncClient, coding: str) -> None:
    for body in (b"", CODINGS[coding](b"")):
        assert (await last_line(client, body, coding))["result"]["lines"] == 0


def refused(last: Json, code: str) -> Json:
    assert set(last) == {"problem"}, last
    told: Json = last["problem"]
    assert told["type"] == f"urn:factwire:problem:{code}", told
    return told


@pytest.mark.case("coding-false")
@pytest.mark.parametrize("coding", CODINGS)
async def test_an_import_that_is_not_what_its_coding_says_is_a_malformed_body(
    client: httpx.AsyncClient, namespace: str, coding: str
) -> None:
    plain = ndjson([fact(namespace)])
    other = zstandard.compress(plain) if "gzip" in coding.lower() else gzip.compress(plain)
    for body in (plain, other, zlib.compress(plain)):
        told = refused(await last_line(client, body, coding), "malformed-body")
        assert (told["status"], told["line"], told["progress"]["published"]) == (400, 1, 0)
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("coding-truncated")
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_what_came_before_a_truncation_is_committed_and_the_rest_told(
    client: httpx.AsyncClient, namespace: str, coding: str
) -> None:
    """The first member is whole, of 600 lines: more than a batch. The second one is cut."""
    facts = [identified(namespace, payload=n) for n in range(601)]
    whole, second = CODINGS[coding](ndjson(facts[:600])), CODINGS[coding](ndjson(facts[600:]))
    for cut in (1, 5, len(second) // 2, len(second) - 1):
        told = refused(await last_line(client, whole + second[:cut], coding), "malformed-body")
        committed = told["progress"]["published"] + told["progress"]["replayed"]
        assert told["line"] == committed + 1
        stored = [one["payload"] for one in await read(client, namespace=namespace)]
        assert stored == list(range(len(stored)))
        assert 0 < committed <= len(stored)
    again = await last_line(client, CODINGS[coding](ndjson(facts)), coding)
    assert again["result"]["lines"] == 601
    assert [one["payload"] for one in await read(client, namespace=namespace)] == list(range(601))


@pytest.mark.case("coding-garbage-behind")
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_what_stands_behind_a_member_and_is_none_is_a_malformed_body(
    client: httpx.AsyncClient, namespace: str, coding: str
) -> None:
    body = CODINGS[coding](ndjson([identified(namespace)]))
    refused(await last_line(client, body + b"garbage" * 10, coding), "malformed-body")


@pytest.mark.case("coding-damaged")
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_damaged_import_never_publishes_what_was_not_sent(
    client: httpx.AsyncClient, namespace: str, coding: str
) -> None:
    body = bytearray(CODINGS[coding](ndjson([identified(namespace, payload="x" * 50)])))
    for place in range(len(body)):
        damaged = bytes(body[:place]) + bytes([body[place] ^ 0x55]) + bytes(body[place + 1 :])
        last = await last_line(client, damaged, coding)
        assert set(last) in ({"problem"}, {"result"})
        assert last.get("problem", {"status": 400})["status"] < 500, last
    assert {str(one["payload"]) for one in await read(client, namespace=namespace)} <= {"x" * 50}


def bomb(coding: str, text: bytes, mebibytes: int) -> bytes:
    """Always the same, compressed: a gibibyte is 1 MiB of gzip, or 32 KiB of zstd."""
    packer: Any = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    if coding == "zstd":
        packer = zstandard.ZstdCompressor().compressobj()
    mebibyte = text * ((1 << 20) // len(text))
    packed: bytes = b"".join(packer.compress(mebibyte) for _ in range(mebibytes)) + packer.flush()
    return packed


def memory_peak(process: psutil.Process) -> int:
    """How many bytes a service has at most had in memory, with its workers."""
    pids = [process.pid, *(child.pid for child in process.children(recursive=True))]
    status = "".join(Path(f"/proc/{pid}/status").read_text() for pid in pids)
    return sum(int(kibibytes) * 1024 for kibibytes in re.findall(r"VmHWM:\s*(\d+) kB", status))


@pytest.mark.case("coding-bomb")
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_line_that_becomes_a_gibibyte_is_refused_in_little_memory(
    start_own: Callable[[], Awaitable[Any]] | None, coding: str
) -> None:
    if start_own is None or not sys.platform.startswith("linux"):
        pytest.skip("the memory of this service cannot be known")
    service = await start_own()
    process = psutil.Process(service.pid)
    async with httpx.AsyncClient(base_url=service.url, timeout=TIMEOUT) as client:
        await last_line(client, CODINGS[coding](ndjson([fact("first")])), coding)
        before = memory_peak(process)
        body = bomb(coding, b"x", 1024)
        for _ in range(3):
            told = refused(await last_line(client, body, coding), "limit-exceeded")
            assert (told["limit"], told["line"]) == ("body_bytes_max", 1)
        assert memory_peak(process) - before < BOMB_GROWTH_BYTES_MAX
        assert (await last_line(client, ndjson([fact("after")]), "identity"))["result"]["published"] == 1


@pytest.mark.case("coding-bomb-of-lines")
@pytest.mark.parametrize(
    ("line", "mebibytes"), [(b"\n", 3), (b'{"namespace":"a","type":"A","payload":null,"redacted":true}\n', 16)]
)
async def test_others_are_answered_while_a_few_bytes_become_millions_of_lines(
    client: httpx.AsyncClient, line: bytes, mebibytes: int
) -> None:
    """No line of it needs the database: what takes no waiting must make way by itself."""
    importing = asyncio.create_task(last_line(client, bomb("zstd", line, mebibytes), "zstd"))
    answers = 0
    while not importing.done():
        assert (await client.get("/livez")).status_code == 200
        answers += 1
    assert (await importing)["result"]["lines"] >= 100_000
    assert answers > 10
