"""`POST /v1/facts`: what is refused, how, and that nothing is written."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.conformance.wire import JSON, Json, fact, pointers, post_facts, problem, publish, read

PAYLOAD_BYTES_MAX = 1 << 20
BODY_BYTES_MAX = 4 << 20


async def post_bytes(client: httpx.AsyncClient, body: bytes) -> httpx.Response:
    return await client.post("/v1/facts", content=body, headers=JSON)


@pytest.mark.case("publish-malformed-json")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"facts": [}',
        b'{"facts": []} trailing',
        b"{'facts': []}",
        b'\xff\xfe{"facts": []}',
        b'{"facts": [{"namespace": "a", "type": "A", "payload": "\xff"}]}',
        b'{"facts": [{"namespace": "a", "type": "A", "payload": NaN}]}',
        b'{"facts": [{"namespace": "a", "type": "A", "payload": -Infinity}]}',
        b'{"facts": [{"namespace": "a", "type": "A", "payload": 01}]}',
        b'{"facts": [{"namespace": "a", "type": "A", "payload": 1.}]}',
        b'{"facts": [{"namespace": "a", "type": "A", "payload": "raw\nline"}]}',
        b'{"facts": [{"namespace": "a", "type": "A", "payload": "\\x41"}]}',
        b'{"facts": [{"namespace": "a", "type": "A", "payload": {"a": 1,}}]}',
        b'{"facts": [{"namespace": "a", "type": "A", "payload": [1] 2}]}',
        b'{"facts": [{"namespace": "a", "type": "A", "payload": }]}',
    ],
)
async def test_a_body_that_is_not_json_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    problem(await post_bytes(client, body), 400, "malformed-json")


@pytest.mark.case("publish-deep-nesting")
async def test_a_payload_nested_beyond_any_stack_never_breaks_the_service(
    client: httpx.AsyncClient, namespace: str
) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    body = b'{"facts": [{"namespace": "%b", "type": "Deep", "payload": %b}]}' % (namespace.encode(), deep)
    response = await post_bytes(client, body)
    assert response.status_code in {201, 400, 422}
    await publish(client, fact(namespace))


@pytest.mark.case("publish-wrong-shape")
@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ([], ""),
        ("facts", ""),
        (None, ""),
        ({}, "/facts"),
        ({"facts": {}}, "/facts"),
        ({"facts": []}, "/facts"),
        ({"facts": [1]}, "/facts/0"),
        ({"facts": [[]]}, "/facts/0"),
        ({"facts": [fact("a")], "extra": 1}, "/extra"),
    ],
    ids=repr,
)
async def test_a_body_of_another_shape_is_refused_with_a_pointer(
    client: httpx.AsyncClient, body: Any, pointer: str
) -> None:
    told = problem(await post_bytes(client, json.dumps(body).encode()), 422, "invalid-request")
    assert pointers(told)[0] in {pointer, pointer.rpartition("/")[0]}


@pytest.mark.case("publish-wrong-types")
@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("namespace", 1),
        ("namespace", None),
        ("type", ["A"]),
        ("version", "1"),
        ("version", 1.5),
        ("version", True),
        ("version", 0),
        ("version", -1),
        ("version", 2**63),
        ("id", 7),
        ("id", "not-a-uuid"),
        ("id", ""),
        ("aggregate_ids", "order-1"),
        ("aggregate_ids", {}),
        ("meta", []),
        ("meta", "tenant"),
    ],
)
async def test_a_member_of_a_wrong_type_is_refused_with_its_pointer(
    client: httpx.AsyncClient, namespace: str, member: str, value: Any
) -> None:
    response = await post_facts(client, fact(namespace), fact(namespace) | {member: value})
    assert pointers(problem(response, 422, "invalid-request")) == [f"/facts/1/{member}"]
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("publish-wrong-inner-types")
@pytest.mark.parametrize(
    ("member", "value", "pointer"),
    [
        ("aggregate_ids", ["a", 1], "/facts/0/aggregate_ids/1"),
        ("aggregate_ids", [None], "/facts/0/aggregate_ids/0"),
        ("meta", {"tenant": 1}, "/facts/0/meta"),
        ("meta", {"tenant": ["a", 1]}, "/facts/0/meta"),
        ("meta", {"tenant": {"a": "b"}}, "/facts/0/meta"),
        ("meta", {"tenant": None}, "/facts/0/meta"),
    ],
)
async def test_a_value_of_a_wrong_type_is_refused_with_its_pointer(
    client: httpx.AsyncClient, namespace: str, member: str, value: Any, pointer: str
) -> None:
    response = await post_facts(client, fact(namespace, **{member: value}))
    assert pointers(problem(response, 422, "invalid-request"))[0].startswith(pointer)


@pytest.mark.case("publish-unknown-member")
@pytest.mark.parametrize("member", ["aggregate_id", "Type", "position", "published_at", "data"])
async def test_an_unknown_member_is_refused_with_its_pointer(
    client: httpx.AsyncClient, namespace: str, member: str
) -> None:
    response = await post_facts(client, fact(namespace, **{member: "x"}))
    assert pointers(problem(response, 422, "invalid-request"))[0] in {f"/facts/0/{member}", "/facts/0"}
    assert member in response.text
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("publish-missing-member")
@pytest.mark.parametrize("member", ["namespace", "type", "payload"])
async def test_a_missing_member_is_named(client: httpx.AsyncClient, namespace: str, member: str) -> None:
    incomplete = fact(namespace)
    del incomplete[member]
    response = await post_facts(client, incomplete)
    assert pointers(problem(response, 422, "invalid-request"))[0] in {f"/facts/0/{member}", "/facts/0"}
    assert member in response.text


@pytest.mark.case("publish-bad-name")
@pytest.mark.parametrize(
    ("member", "name"),
    [
        *(("namespace", name) for name in ("a b", "-a", ".a", ":a", "_a", "a/b", "é", "a\u00e9", "'", "٣")),
        *(
            (member, name)
            for member in ("namespace", "type")
            for name in ("", "x" * 201, " a", "a ", "a\n", "a\u0000", "a\u2028", "a\ud800")
        ),
    ],
)
async def test_a_bad_name_is_refused(client: httpx.AsyncClient, namespace: str, member: str, name: str) -> None:
    response = await post_facts(client, fact(namespace) | {member: name})
    told = problem(response, 422 if response.status_code != 400 else 400, "invalid-request", "malformed-json")
    assert response.status_code == 422 or name.endswith("\ud800")
    assert [error["pointer"] for error in told.get("errors", [])] in ([f"/facts/0/{member}"], [])


@pytest.mark.case("publish-longest-names")
async def test_names_and_values_may_be_as_long_as_the_limits(client: httpx.AsyncClient, namespace: str) -> None:
    long = fact(
        namespace.ljust(200, "n"),
        "t" * 200,
        aggregate_ids=["é" * 256],
        meta={"k" * 200: "☃" * 256, "K": ["🦊" * 256, "x"]},
    )
    await publish(client, long)
    (stored,) = await read(client, namespace=long["namespace"])
    assert {member: stored[member] for member in long} == {**long, "meta": stored["meta"]}
    assert stored["meta"] == {"K": ["x", "🦊" * 256], "k" * 200: "☃" * 256}


@pytest.mark.case("publish-bad-aggregate-id")
@pytest.mark.parametrize("id_", ["x" * 257, "a\nb", "\u0000", "\u007f", "\u0085", "a\ud800", "\udc00a"])
async def test_a_bad_aggregate_id_is_refused(client: httpx.AsyncClient, namespace: str, id_: str) -> None:
    response = await post_facts(client, fact(namespace, aggregate_ids=["fine", id_]))
    refused_text(response, id_, "/facts/0/aggregate_ids")
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("publish-bad-meta-value")
@pytest.mark.parametrize("value", ["x" * 257, "a\tb", "\u0000", "\u009f", "\ud800\ud800"])
@pytest.mark.parametrize("several", [False, True])
async def test_a_bad_meta_value_is_refused(
    client: httpx.AsyncClient, namespace: str, value: str, several: bool
) -> None:
    response = await post_facts(client, fact(namespace, meta={"tenant": ["fine", value] if several else value}))
    refused_text(response, value, "/facts/0/meta/tenant")
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("publish-bad-meta-key")
@pytest.mark.parametrize("key", ["", "a:b", "k" * 201, "a b", "-a", "é", "a\u0000", "a/b", "a~b"])
async def test_a_bad_meta_key_is_refused(client: httpx.AsyncClient, namespace: str, key: str) -> None:
    response = await post_facts(client, fact(namespace, meta={key: "v"}))
    assert pointers(problem(response, 422, "invalid-request"))[0].startswith("/facts/0/meta")


def refused_text(response: httpx.Response, text: str, pointer: str) -> None:
    """Refused with its pointer; a lone surrogate may already be refused as text that is no Unicode."""
    if any("\ud800" <= character <= "\udfff" for character in text) and response.status_code == 400:
        problem(response, 400, "malformed-json")
    else:
        assert pointers(problem(response, 422, "invalid-request"))[0].startswith(pointer)


@pytest.mark.case("publish-reserved-namespace")
async def test_the_namespace_of_the_service_is_reserved(client: httpx.AsyncClient) -> None:
    told = problem(await post_facts(client, fact("factwire")), 422, "invalid-request")
    assert pointers(told) == ["/facts/0/namespace"]


@pytest.mark.case("publish-limits")
@pytest.mark.parametrize(
    ("members", "maximum"),
    [
        ({"aggregate_ids": [f"order-{n}" for n in range(33)]}, 32),
        ({"meta": {f"key-{n}": "v" for n in range(33)}}, 32),
        ({"payload": "x" * (PAYLOAD_BYTES_MAX - 1)}, PAYLOAD_BYTES_MAX),
    ],
    ids=["aggregate-ids", "meta-keys", "payload-bytes"],
)
async def test_a_fact_beyond_a_limit_names_the_limit_and_its_value(
    client: httpx.AsyncClient, namespace: str, members: Json, maximum: int
) -> None:
    told = problem(await post_facts(client, fact(namespace, **members)), 422, "limit-exceeded")
    assert told["maximum"] == maximum
    assert isinstance(told["limit"], str)
    assert pointers(told) == [f"/facts/0/{next(iter(members))}"]
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("publish-limit-of-facts")
async def test_a_batch_beyond_the_limit_of_facts_names_it(client: httpx.AsyncClient, namespace: str) -> None:
    told = problem(await post_facts(client, *([fact(namespace)] * 1001)), 422, "limit-exceeded")
    assert told["maximum"] == 1000
    assert isinstance(told["limit"], str)
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("publish-at-the-limits")
@pytest.mark.parametrize(
    "members",
    [
        {"aggregate_ids": [f"order-{n:02}" for n in range(32)]},
        {"meta": {f"key-{n:02}": "v" for n in range(32)}},
        {"payload": "x" * (PAYLOAD_BYTES_MAX - 2)},
    ],
    ids=["aggregate-ids", "meta-keys", "payload-bytes"],
)
async def test_a_fact_at_a_limit_is_published(client: httpx.AsyncClient, namespace: str, members: Json) -> None:
    sent = fact(namespace, **members)
    await publish(client, sent)
    (stored,) = await read(client, namespace=namespace)
    assert {member: stored[member] for member in members} == members


@pytest.mark.case("publish-limit-of-body")
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_beyond_the_limit_is_refused(client: httpx.AsyncClient, namespace: str, chunked: bool) -> None:
    body = json.dumps({"facts": [fact(namespace, payload="x" * 1_000_000)] * 5}).encode()
    body += b" " * (BODY_BYTES_MAX + 1 - len(body))
    content = (body[start : start + 65536] for start in range(0, len(body), 65536))

    async def pieces() -> Any:
        for piece in content:
            yield piece

    response = await client.post("/v1/facts", content=pieces() if chunked else body, headers=JSON)
    told = problem(response, 413, "body-too-large")
    assert told["maximum"] == BODY_BYTES_MAX
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("publish-media-type")
@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "application/x-ndjson", None]
)
async def test_a_body_of_another_media_type_is_refused(
    client: httpx.AsyncClient, namespace: str, media_type: str | None
) -> None:
    content = json.dumps({"facts": [fact(namespace)]}).encode()
    headers = {"content-type": media_type} if media_type else {}
    problem(await client.post("/v1/facts", content=content, headers=headers), 415, "unsupported-media-type")


@pytest.mark.case("publish-media-type-parameters")
@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_may_be_named_with_parameters_and_in_any_case(
    client: httpx.AsyncClient, namespace: str, media_type: str
) -> None:
    content = json.dumps({"facts": [fact(namespace)]}).encode()
    response = await client.post("/v1/facts", content=content, headers={"content-type": media_type})
    assert response.status_code == 201


@pytest.mark.case("publish-unknown-parameter")
async def test_an_unknown_parameter_is_refused(client: httpx.AsyncClient, namespace: str) -> None:
    response = await client.post("/v1/facts", params={"dry_run": "1"}, json={"facts": [fact(namespace)]})
    problem(response, 422, "unknown-parameter")
    assert await read(client, namespace=namespace) == []
