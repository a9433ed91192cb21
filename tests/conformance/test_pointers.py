"""Problems of bodies: each `pointer` (RFC 6901) leads to something in the body that was sent, and none is large."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import httpx
import pytest

from tests.conformance.wire import JSON, NDJSON, Json

PROBLEM_BYTES_MAX = 16 * 1024
AT_ONCE = 16
EVENT = {"content-type": "application/cloudevents+json"}
BATCH = {"content-type": "application/cloudevents-batch+json"}

Path = tuple[str | int, ...]
Send = Callable[[httpx.AsyncClient, bytes], Awaitable[bytes]]


def posted(path: str, headers: dict[str, str] = JSON) -> Send:
    """How a body is posted; the problem that is answered, or nothing."""

    async def post(client: httpx.AsyncClient, body: bytes) -> bytes:
        async with client.stream("POST", path, content=body, headers=headers) as response:
            return await response.aread() if response.status_code >= 400 else b""

    return post


async def as_parameter(client: httpx.AsyncClient, body: bytes) -> bytes:
    response = await client.get("/v1/facts", params={"query": body.decode(), "limit": 1})
    return response.content if response.status_code >= 400 else b""


async def as_line(client: httpx.AsyncClient, body: bytes) -> bytes:
    response = await client.post("/v1/facts/import", content=body + b"\n", headers=NDJSON)
    assert response.status_code == 200, response.text
    last: Json = json.loads(response.content.splitlines()[-1])
    return json.dumps(last["problem"], ensure_ascii=False).encode() if "problem" in last else b""


ITEM = {"namespaces": ["a"], "types": ["A"], "aggregate_ids": ["a", "b"], "meta": {"k": "v", "l": ["v", "w"]}}
SMALL_FACT = {"namespace": "pointers", "type": "Noted", "payload": {"a": [1]}}
FACT = SMALL_FACT | {"version": 1, "aggregate_ids": ["a", "b"], "meta": {"k": "v", "l": ["v", "w"]}}
EVENT_BODY = {"specversion": "1.0", "id": "1", "source": "/s", "type": "Noted", "namespace": "pointers"}
WHOLE_EVENT = EVENT_BODY | {
    "subject": "a",
    "time": "2026-11-29T00:00:00Z",
    "data": {"a": [1]},
    "traceid": "t",
    "factversion": 1,
    "factaggregateids": '["b","c"]',
    "factmeta": '{"k":"v"}',
    "factsubject": None,
    "factposition": "1",
}


@dataclass(frozen=True)
class Operation:
    send: Send
    body: Any
    opaque: frozenset[str] = frozenset()


OPERATIONS = {
    "publish": Operation(
        posted("/v1/facts"),
        {"facts": [{**SMALL_FACT, "id": None}, FACT], "condition": {"fail_if_match": [ITEM], "after": "1:0"}},
        opaque=frozenset({"payload"}),
    ),
    "import": Operation(
        as_line,
        FACT | {"id": None, "position": 1, "published_at": "2026-11-29T00:00:00Z"},
        opaque=frozenset({"payload"}),
    ),
    "search": Operation(posted("/v1/facts/search?limit=1"), {"items": [ITEM, {}]}),
    "stream": Operation(posted("/v1/stream"), {"items": [ITEM, {}]}),
    "parameter": Operation(as_parameter, {"items": [ITEM, {}]}),
    "ticket": Operation(posted("/v1/tickets"), {"items": [ITEM]}),
    "key": Operation(
        posted("/v1/keys"),
        {
            "name": "n",
            "grants": {"publish": {"include": ["a", "b.*"], "exclude": ["b.c"]}, "read": {}, "manage": {"include": []}},
            "expires_at": "2036-11-29T00:00:00Z",
        },
    ),
    "rotation": Operation(posted("/v1/keys/4yTqW0ePzK3c/rotate"), {"grace_seconds": 1.5}),
    "redaction": Operation(posted(f"/v1/facts/{uuid.uuid4()}/redaction"), {"reason": "by mistake"}),
    "event": Operation(posted("/v1/facts/cloudevents", EVENT), WHOLE_EVENT, opaque=frozenset({"data"})),
    "event in base64": Operation(posted("/v1/facts/cloudevents", EVENT), EVENT_BODY | {"data_base64": "AAAA"}),
    "events": Operation(
        posted("/v1/facts/cloudevents", BATCH),
        [EVENT_BODY, EVENT_BODY | {"id": "2", "data": {}}],
        opaque=frozenset({"data"}),
    ),
}

MANY = [f"v{number}" for number in range(101)]
VALUES: list[Any] = [
    *(None, True, 0, -1, 1.5, 2**63),
    *("", "\0", "a b", "x" * 257, "\ud800", "9999999999"),
    *([], [None], ["a", 1], ["a", "\0"], ["x" * 257], MANY),
    *({}, {"k": None}, {"k": 1}, {"k": ["v", None]}, {"k": []}, {"k": "\0"}, {"a/b": "v"}, {"a~b~1": "v"}),
    *({"a:b": "v"}, {"": "v"}, {"a.[0]": "v"}, {"\ud800": "v"}, {"k": MANY}, dict.fromkeys(MANY, "v")),
    *({"x" * 1500: "v"}, {"é/" * 800: "v"}),
]
NAMES = ["x", "x/y", "x~y", "~1", "a.b", "a[0]", "[...]", "", " ", "`", '"', "\\", "é", "\0", "\n", "\ud800", "k" * 300]


def places(value: Any, opaque: frozenset[str], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Each place of a body outside of its payloads, the payloads themselves included."""
    yield path, value
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in members:
        yield from [((*path, name), each)] if name in opaque else places(each, opaque, (*path, name))


def changed(body: Any, path: Path, change: Callable[[Any, Any], None]) -> Any:
    whole = json.loads(json.dumps({"": body}))
    parent: Any = whole
    for step in ("", *path)[:-1]:
        parent = parent[step]
    change(parent, ("", *path)[-1])
    return whole.get("")


def put(value: Any) -> Callable[[Any, Any], None]:
    def change(parent: Any, name: Any) -> None:
        parent[name] = value

    return change


def take(parent: Any, name: Any) -> None:
    del parent[name]


def wrong_bodies(operation: Operation) -> Iterator[tuple[Path, Any]]:
    """The body with one thing changed, and where."""
    body, opaque = operation.body, operation.opaque
    for path, value in places(body, opaque):
        yield from ((path, changed(body, path, put(wrong))) for wrong in VALUES)
        if path:
            yield path, changed(body, path, take)
        if isinstance(value, dict) and opaque.isdisjoint(path):
            for name in NAMES:
                yield (*path, name), changed(body, (*path, name), put(1))


def steps_of(pointer: str) -> list[str]:
    first, *tokens = pointer.split("/")
    assert first == "", f"{pointer!r} is not a JSON pointer"
    for token in tokens:
        assert "~" not in token.replace("~0", "").replace("~1", ""), f"{pointer!r} is not a JSON pointer"
    return [token.replace("~1", "/").replace("~0", "~") for token in tokens]


def resolved(value: Any, pointer: str) -> Path:
    """The path of a pointer in a body; fails where there is nothing."""
    path: Path = ()
    for token in steps_of(pointer):
        assert isinstance(value, dict | list), f"{pointer!r} leads into {value!r}"
        step = int(token) if isinstance(value, list) else token
        assert str(step) == token, f"{pointer!r} is not a JSON pointer"
        members: Any = value
        value = members[step]
        path = (*path, step)
    return path


def checked(problem: bytes, body: bytes) -> list[Path]:
    """What the pointers of a problem lead to."""
    assert len(problem) <= PROBLEM_BYTES_MAX
    members = json.loads(problem)
    assert members["status"] < 500
    sent = json.loads(body)
    return [resolved(sent, each["pointer"]) for each in members.get("errors", ()) if "pointer" in each]


async def in_chunks(client: httpx.AsyncClient, operation: Operation) -> int:
    """Send all that is wrong with a body; how many pointers were told."""
    pointers = 0
    wrong = wrong_bodies(operation)
    while chunk := list(islice(wrong, AT_ONCE)):
        bodies = [json.dumps(body).encode() for _, body in chunk]
        problems = await asyncio.gather(*(operation.send(client, body) for body in bodies))
        for (place, _), body, problem in zip(chunk, bodies, problems, strict=True):
            for path in checked(problem, body) if problem else ():
                pointers += 1
                shared = min(len(path), len(place))
                assert path[:shared] == place[:shared], (problem, body)
    return pointers


@pytest.mark.case("pointers-lead-into-the-body")
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_each_pointer_leads_to_what_is_wrong_in_the_body(client: httpx.AsyncClient, operation: str) -> None:
    assert await in_chunks(client, OPERATIONS[operation]) > 20


@pytest.mark.case("pointers-name-the-unknown-member")
@pytest.mark.parametrize("operation", [name for name in OPERATIONS if not name.startswith("event")])
async def test_a_pointer_leads_to_an_unknown_member_itself(client: httpx.AsyncClient, operation: str) -> None:
    send, body = OPERATIONS[operation].send, OPERATIONS[operation].body
    for name in NAMES[:7]:
        sent = json.dumps(body | {name: 1}).encode()
        assert checked(await send(client, sent), sent) == [(name,)]


@pytest.mark.case("pointers-small-problem")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("letter", ["x", "/", "é", "\0", "🦊"], ids=["ascii", "slash", "latin", "nul", "emoji"])
async def test_a_problem_is_small_however_long_the_name_of_a_member_is(
    client: httpx.AsyncClient, operation: str, letter: str
) -> None:
    one = OPERATIONS[operation]
    bytes_max = 16_000 if operation == "parameter" else 3_000_000
    name = letter * (bytes_max // len(json.dumps(letter)[1:-1]))
    for path, value in places(one.body, one.opaque):
        if isinstance(value, dict) and one.opaque.isdisjoint(path):
            sent = json.dumps(changed(one.body, (*path, name), put("v"))).encode()
            problem = await one.send(client, sent)
            assert problem
            checked(problem, sent)


@pytest.mark.case("pointers-many-wrong-facts")
@pytest.mark.parametrize("letter", ["x ", "🦊", "\0", "/"], ids=["ascii", "emoji", "nul", "slash"])
async def test_a_problem_is_small_however_many_facts_are_wrong(client: httpx.AsyncClient, letter: str) -> None:
    facts = [FACT | {"meta": {letter * (900 // len(letter)): "v"}} for _ in range(300)]
    sent = json.dumps({"facts": facts}).encode()
    paths = checked(await posted("/v1/facts")(client, sent), sent)
    assert [path[:2] for path in paths] == [("facts", number) for number in range(len(paths))]
    assert paths
