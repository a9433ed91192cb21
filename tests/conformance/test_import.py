"""`POST /v1/facts/import`: facts of any number, a line each."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.conformance.streams import connected, opened
from tests.conformance.wire import (
    JSON,
    NDJSON,
    TIMEOUT,
    Json,
    answered,
    fact,
    identified,
    ids_of,
    parameters,
    pointers,
    position_of,
    post_facts,
    problem,
    publish,
    publish_many,
    read,
)

PROGRESS = {"lines", "published", "replayed", "position", "cursor"}
PROGRESS_SECONDS_MAX = 1.5  # by then a client that is not a proxy was told something


def ndjson(facts: Iterable[Json]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in facts)


async def post(client: httpx.AsyncClient, body: bytes | AsyncIterator[bytes], **parameters: str) -> list[Json]:
    """Import; the lines of the answer, whose last is a result or a problem."""
    response = await client.post("/v1/facts/import", params=parameters, content=body, headers=NDJSON)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/x-ndjson")
    *lines, end = response.content.split(b"\n")
    assert end == b""
    *progress, last = [json.loads(line) for line in lines]
    assert all(set(line) == {"progress"} and set(line["progress"]) == PROGRESS for line in progress)
    return [*progress, last]


async def result(client: httpx.AsyncClient, body: bytes | AsyncIterator[bytes], **parameters: str) -> Json:
    last = (await post(client, body, **parameters))[-1]
    assert set(last) == {"result"}, last
    assert set(last["result"]) - {"skipped"} == PROGRESS
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
        (b'{"namespace":"a","type":"A ","payload":1}', 422, "invalid-request"),
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


SKIPPED = {"redacted": 0, "erased": 0, "unreadable": 0, "reserved": 0}


async def redact(client: httpx.AsyncClient, id_: str) -> None:
    answered(await client.post(f"/v1/facts/{id_}/redaction", json={"reason": "by mistake"}))


@pytest.mark.case("import-of-a-whole-log")
async def test_an_export_of_a_whole_log_is_taken_and_what_cannot_be_copied_counted(
    client: httpx.AsyncClient, namespace: str, start_own: Callable[..., Awaitable[Any]] | None
) -> None:
    """A log with a redacted fact, two of an erased person, and what the log says of both: no stop in the middle."""
    if start_own is None:
        pytest.skip("a foreign service may have no master key")
    other = await start_own(master_key=base64.b64encode(bytes(range(32))).decode())
    facts = [identified(namespace, payload=n) for n in range(8)]
    for erased in (facts[2], facts[5]):
        erased["data_subject"] = "customer-1"
    async with httpx.AsyncClient(base_url=other.url, timeout=TIMEOUT) as there:
        await publish(there, *facts[:6])
        await redact(there, facts[1]["id"])
        answered(await there.delete("/v1/data-subjects/customer-1"))
        await publish(there, *facts[6:])
        exported = (await there.get("/v1/facts/export")).content
    assert [json.loads(line)["namespace"] for line in exported.splitlines()].count("factwire") == 2
    told = await result(client, exported)
    assert told["skipped"] == SKIPPED | {"redacted": 1, "erased": 2, "reserved": 2}
    assert counts(told) == (10, 5, 0)
    stored = await read(client, namespace=namespace)
    assert [one["id"] for one in stored] == [facts[n]["id"] for n in (0, 3, 4, 6, 7)]
    assert counts(await result(client, exported)) == (10, 0, 5)


@pytest.mark.case("import-skipped-line")
@pytest.mark.parametrize("reason", SKIPPED)
@pytest.mark.parametrize("place", [0, 1, 3])
async def test_lines_around_a_skipped_one_are_published(
    client: httpx.AsyncClient, namespace: str, reason: str, place: int
) -> None:
    facts = [identified(namespace, payload=n) for n in range(3)]
    passed_over: Json = identified(namespace, position=7, payload=None)
    passed_over |= {"namespace": "factwire"} if reason == "reserved" else {reason: True}
    told = await result(client, ndjson([*facts[:place], passed_over, *facts[place:]]))
    assert told["skipped"] == SKIPPED | {reason: 1}
    assert counts(told) == (4, 3, 0)
    assert [one["payload"] for one in await read(client, namespace=namespace)] == [0, 1, 2]


@pytest.mark.case("import-nothing-skipped")
@pytest.mark.parametrize("member", ["redacted", "erased", "unreadable"])
async def test_a_line_that_says_it_is_whole_is_published(
    client: httpx.AsyncClient, namespace: str, member: str
) -> None:
    told = await result(client, ndjson([identified(namespace) | {member: False}]))
    assert counts(told) == (1, 1, 0)
    assert "skipped" not in told


@pytest.mark.case("import-new-reserved-line")
@pytest.mark.parametrize("more", [{}, {"redacted": False}])
async def test_a_new_line_in_the_reserved_namespace_is_refused(
    client: httpx.AsyncClient, namespace: str, more: Json
) -> None:
    told = await refusal(client, ndjson([fact(namespace), fact("factwire", **more)]), 422, "invalid-request")
    assert (told["line"], told["progress"]["published"]) == (2, 1)
    assert [error["pointer"] for error in told["errors"]] == ["/namespace"]


@pytest.mark.case("import-keeps-times")
async def test_the_times_of_another_log_are_kept_in_meta(client: httpx.AsyncClient, namespace: str) -> None:
    times = ["2020-02-29T12:00:00.000001Z", "2021-01-01T00:00:00.000000Z"]
    facts = [
        identified(namespace, payload=0, published_at=times[0], position=1),
        identified(namespace, payload=1, published_at=times[1], meta={"tenant": ["b", "a"], "other": "x"}),
        identified(namespace, payload=2, published_at=times[1], meta={"original_time": "as it is"}),
        identified(namespace, payload=3),
        identified(namespace, payload=4, published_at=None),
    ]
    told = await result(client, ndjson(facts), published_at_meta="original_time")
    assert counts(told) == (5, 5, 0)
    assert [one["meta"] for one in await read(client, namespace=namespace)] == [
        {"original_time": times[0]},
        {"original_time": times[1], "other": "x", "tenant": ["a", "b"]},
        {"original_time": "as it is"},
        {},
        {},
    ]
    assert counts(await result(client, ndjson(facts), published_at_meta="original_time")) == (5, 0, 5)
    (found,) = await read(client, namespace=namespace, meta=f"original_time:{times[0]}")
    assert found["payload"] == 0


@pytest.mark.case("import-keeps-times-of-an-export")
async def test_a_copy_of_a_log_has_the_times_of_the_log_it_comes_from(
    client: httpx.AsyncClient, namespace: str, start_own: Callable[[], Awaitable[Any]] | None
) -> None:
    if start_own is None:
        pytest.skip("needs another log")
    facts = [identified(namespace, payload=n) for n in range(3)]
    async with httpx.AsyncClient(base_url=(await start_own()).url, timeout=TIMEOUT) as there:
        await publish(there, *facts)
        times = [one["published_at"] for one in await read(there, namespace=namespace)]
        exported = (await there.get("/v1/facts/export")).content
    await result(client, exported, published_at_meta="original_time")
    stored = await read(client, namespace=namespace)
    assert [one["meta"] for one in stored] == [{"original_time": time} for time in times]
    assert min(one["published_at"] for one in stored) > max(times)


@pytest.mark.case("import-times-under-no-key")
@pytest.mark.parametrize("key", ["", "a:b", "a b", "-a", "é", "k" * 201, "a/b"])
async def test_a_wrong_meta_key_for_times_is_refused_before_anything_is_read(
    client: httpx.AsyncClient, namespace: str, key: str
) -> None:
    response = await client.post(
        "/v1/facts/import", params={"published_at_meta": key}, content=ndjson([fact(namespace)]), headers=NDJSON
    )
    told = problem(response, 400, "malformed-parameter")
    assert parameters(told) == ["published_at_meta"]
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("import-byte-order-mark")
async def test_a_byte_order_mark_is_named(client: httpx.AsyncClient, namespace: str) -> None:
    mark = b"\xef\xbb\xbf"
    told = await refusal(client, mark + ndjson([fact(namespace)]), 400, "malformed-json")
    assert told["line"] == 1
    assert "byte order mark" in told["detail"]
    content = mark + json.dumps({"facts": [fact(namespace)]}).encode()
    response = await client.post("/v1/facts", content=content, headers=JSON)
    assert "byte order mark" in problem(response, 400, "malformed-json")["detail"]
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("ids-have-hyphens")
@pytest.mark.parametrize("spelled", ["{}", "urn:uuid:{}", "{{{}}}", " {}"])
async def test_an_id_in_another_form_than_the_hyphenated_one_is_refused_everywhere(
    client: httpx.AsyncClient, namespace: str, spelled: str
) -> None:
    known = identified(namespace)
    await publish(client, known)
    hyphens = known["id"] if spelled != "{}" else known["id"].replace("-", "")
    id_ = spelled.format(hyphens)
    response = await post_facts(client, fact(namespace, id=id_))
    assert pointers(problem(response, 422, "invalid-request")) == ["/facts/0/id"]
    told = await refusal(client, ndjson([fact(namespace, id=id_)]), 422, "invalid-request")
    assert pointers(told) == ["/id"]
    for parameter in ("after", "until"):
        response = await client.get("/v1/facts", params={parameter: id_})
        assert parameters(problem(response, 400, "malformed-parameter")) == [parameter]
    problem(await client.get(f"/v1/facts/{quote(id_)}"), 400, "malformed-parameter")
    response = await client.post(f"/v1/facts/{quote(id_)}/redaction", json={"reason": "none"})
    problem(response, 400, "malformed-parameter")
    assert len(await read(client, namespace=namespace)) == 1


@pytest.mark.case("ids-in-upper-case")
async def test_an_id_in_upper_case_is_taken_and_comes_back_in_lower_case(
    client: httpx.AsyncClient, namespace: str
) -> None:
    given = [str(uuid.uuid4()).upper() for _ in range(3)]
    answer = await publish(client, fact(namespace, id=given[0]))
    assert ids_of(answer) == [given[0].lower()]
    told = await result(client, ndjson(fact(namespace, id=id_) for id_ in given))
    assert counts(told) == (3, 2, 1)
    assert [one["id"] for one in await read(client, namespace=namespace)] == [id_.lower() for id_ in given]
    after = await read(client, namespace=namespace, after=given[0])
    assert [one["id"] for one in after] == [id_.lower() for id_ in given[1:]]
    one = answered(await client.get(f"/v1/facts/{given[1]}"))
    assert one["id"] == given[1].lower()


WIDE: Json = {"aggregate_ids": [f"a{number}" for number in range(11)]}
NARROW: Json = {"aggregate_ids": [f"a{number}" for number in range(5)], "meta": {"k": ["a", "b"], "l": "c", "m": "d"}}


@pytest.mark.case("postings-limit")
@pytest.mark.parametrize("wide", [WIDE, {"meta": {"k": [str(number) for number in range(11)]}}], ids=["ids", "meta"])
async def test_a_batch_of_more_postings_than_the_limit_names_it_and_an_import_of_it_goes_through(
    client: httpx.AsyncClient, namespace: str, wide: Json
) -> None:
    facts = [identified(namespace, payload=number, **wide) for number in range(1000)]
    told = problem(await post_facts(client, *facts), 422, "limit-exceeded")
    assert (told["limit"], told["maximum"]) == ("postings_max", 10_000)
    assert pointers(told) == ["/facts"]
    assert "postings_max" in told["detail"]
    assert await read(client, namespace=namespace) == []
    assert counts(await result(client, ndjson(facts))) == (1000, 1000, 0)
    assert [one["payload"] for one in await read(client, namespace=namespace)] == list(range(1000))


@pytest.mark.case("postings-at-the-limit")
async def test_a_batch_of_as_many_postings_as_the_limit_is_published(client: httpx.AsyncClient, namespace: str) -> None:
    """Nine tags and the type of a thousand facts."""
    answer = await publish(client, *(fact(namespace, **NARROW) for _ in range(1000)))
    assert len(answer["facts"]) == 1000
