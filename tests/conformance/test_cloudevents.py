"""CloudEvents in and out: what an event becomes, what a fact becomes, and what is refused."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest

from tests.conformance.streams import follow
from tests.conformance.wire import Json, answered, fact, ids_of, pointers, positions_of, problem, publish, read

EVENT = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
SOURCE = "https://shop.example/orders"


def event(namespace: str, **attributes: Any) -> Json:
    given = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": SOURCE, "type": "Noted", "namespace": namespace}
    return given | attributes


def named(namespace: str, id_: str = "A-1", **attributes: Any) -> Json:
    """An event whose id is no UUID: it is told from others by its source, which no other case has."""
    return event(namespace, id=id_, source=f"/{namespace}", **attributes)


async def post(client: httpx.AsyncClient, body: Json | list[Json] | str, media_type: str = EVENT) -> httpx.Response:
    content = body if isinstance(body, str) else json.dumps(body)
    return await client.post("/v1/facts/cloudevents", content=content, headers={"content-type": media_type})


async def exported(client: httpx.AsyncClient, namespace: str) -> list[Json]:
    response = await client.get("/v1/facts/cloudevents", params={"namespace": namespace})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in response.content.splitlines()]


@pytest.mark.case("cloudevents-whole-event")
async def test_each_part_of_an_event_has_its_place_in_the_fact(client: httpx.AsyncClient, namespace: str) -> None:
    sent = event(
        namespace,
        subject="order-1",
        time="2026-11-23T09:59:59Z",
        datacontenttype="application/json",
        dataschema="https://shop.example/schemas/1",
        traceid="t-1",
        attempt=3,
        urgent=True,
        nothing=None,
        data={"total": 12.5},
    )
    answer = answered(await post(client, sent), 201)
    (stored,) = await read(client, namespace=namespace)
    assert ids_of(answer) == [stored["id"]] == [sent["id"]]
    assert (stored["type"], stored["version"]) == ("Noted", 1)
    assert stored["aggregate_ids"] == ["order-1"]
    assert stored["payload"] == {"total": 12.5}
    assert stored["meta"] == {
        "ce-attempt": "3",
        "ce-datacontenttype": "application/json",
        "ce-not_text": ["attempt", "urgent"],
        "ce-dataschema": "https://shop.example/schemas/1",
        "ce-source": SOURCE,
        "ce-time": "2026-11-23T09:59:59Z",
        "ce-traceid": "t-1",
        "ce-urgent": "true",
    }


@pytest.mark.case("cloudevents-smallest-event")
async def test_an_event_needs_neither_subject_nor_data(client: httpx.AsyncClient, namespace: str) -> None:
    answered(await post(client, event(namespace)), 201)
    (stored,) = await read(client, namespace=namespace)
    assert (stored["aggregate_ids"], stored["payload"]) == ([], None)
    assert stored["meta"] == {"ce-source": SOURCE, "ce-data": "none"}


@pytest.mark.case("cloudevents-data-is-exact")
@pytest.mark.parametrize("data", ['{"b":1.10,"a":1e400,"b":2}', '"\\ud800"', "[1,\n 2]", '"\\u00e9"', "null"])
async def test_data_is_kept_as_it_was_sent(client: httpx.AsyncClient, namespace: str, data: str) -> None:
    text = json.dumps(event(namespace))[:-1] + f', "data": {data}}}'
    answered(await post(client, text), 201)
    kept = data.replace("\n", " ").encode()
    for path in ("/v1/facts", "/v1/facts/cloudevents"):
        assert kept in (await client.get(path, params={"namespace": namespace})).content


@pytest.mark.case("cloudevents-id-that-is-no-uuid")
async def test_an_id_that_is_no_uuid_is_made_one_of_source_namespace_and_id(
    client: httpx.AsyncClient, namespace: str
) -> None:
    sent = [
        named(namespace),
        named(namespace) | {"source": f"/other/{namespace}"},
        named(namespace) | {"namespace": f"{namespace}.other"},
    ]
    answer = answered(await post(client, sent, BATCH), 201)
    sources = [uuid.uuid5(uuid.NAMESPACE_URL, one["source"]) for one in sent]
    expected = [uuid.uuid5(uuid.uuid5(at, one["namespace"]), "A-1") for at, one in zip(sources, sent, strict=True)]
    assert ids_of(answer) == list(map(str, expected))
    assert [one["meta"]["ce-id"] for one in await read(client, namespace=namespace)] == ["A-1", "A-1"]
    assert [one["id"] for one in await exported(client, namespace)] == ["A-1", "A-1"]


@pytest.mark.case("cloudevents-uuid-of-another-source")
async def test_a_uuid_that_another_source_has_used_is_a_conflict(client: httpx.AsyncClient, namespace: str) -> None:
    sent = event(namespace)
    answered(await post(client, sent), 201)
    problem(await post(client, sent | {"source": "/other"}), 409, "fact-id-conflict")


@pytest.mark.case("cloudevents-retry")
async def test_a_repeated_event_is_known(client: httpx.AsyncClient, namespace: str) -> None:
    sent = named(namespace, data=1)
    first = answered(await post(client, sent), 201)
    assert positions_of(answered(await post(client, sent), 200)) == positions_of(first)
    problem(await post(client, sent | {"data": 2}), 409, "fact-id-conflict")


@pytest.mark.case("cloudevents-batch-is-atomic")
async def test_of_a_batch_with_a_wrong_event_nothing_is_published(client: httpx.AsyncClient, namespace: str) -> None:
    wrong = event(namespace, subject="x" * 2049)
    told = problem(
        await post(client, [event(namespace), wrong, event(namespace, type="")], BATCH), 422, "invalid-request"
    )
    assert pointers(told) == ["/1/subject", "/2/type"]
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("cloudevents-empty-batch")
async def test_a_batch_without_events_is_answered_with_the_head(client: httpx.AsyncClient) -> None:
    answer = answered(await post(client, [], BATCH), 200)
    assert (answer["facts"], answer["published_at"]) == ([], None)
    assert answer["cursor"].endswith(f":{answer['position']}")


@pytest.mark.case("cloudevents-twice-in-a-batch")
async def test_an_event_that_stands_in_a_batch_twice_is_one(client: httpx.AsyncClient, namespace: str) -> None:
    one, other = named(namespace, data=1), named(namespace, "A-2")
    answer = answered(await post(client, [one, other, one], BATCH), 201)
    assert len(answer["facts"]) == 2
    assert [each["id"] for each in await exported(client, namespace)] == ["A-1", "A-2"]
    problem(await post(client, [one, one | {"data": 2}], BATCH), 422, "invalid-request")


@pytest.mark.case("cloudevents-refusals")
@pytest.mark.parametrize(
    ("attributes", "pointer"),
    [
        ({"specversion": "0.3"}, "/specversion"),
        ({"specversion": None}, "/specversion"),
        ({"id": ""}, "/id"),
        ({"source": None}, "/source"),
        ({"source": "x" * 2049}, "/source"),
        ({"dataref": "x" * 2049}, "/dataref"),
        ({"type": "x" * 201}, "/type"),
        ({"type": "a\n"}, "/type"),
        ({"factmeta": '{"ce-not_text":"a"}'}, "/factmeta"),
        ({"factmeta": '{"ce-data":"none"}', "data": None}, "/factmeta"),
        ({"subject": ""}, "/subject"),
        ({"subject": "\n"}, "/subject"),
        ({"time": "yesterday"}, "/time"),
        ({"namespace": "factwire"}, "/namespace"),
        ({"traceId": "x"}, "/traceId"),
        ({"trace": {"id": 1}}, "/trace"),
        ({"trace": 1.5}, "/trace"),
        ({"data": 1, "data_base64": "AA=="}, "/data_base64"),
        ({"data_base64": "?"}, "/data_base64"),
        ({"data_base64": 1}, "/data_base64"),
        ({"factversion": "x"}, "/factversion"),
        ({"factversion": 0}, "/factversion"),
        ({"factaggregateids": "order-1"}, "/factaggregateids"),
        ({"factmeta": "[]"}, "/factmeta"),
        ({"factmeta": '{"k":"v","\\u006b":"w"}'}, "/factmeta"),
        ({"id": "\ud800"}, "/id"),
    ],
    ids=str,
)
async def test_what_no_event_may_have_is_named(
    client: httpx.AsyncClient, namespace: str, attributes: Json, pointer: str
) -> None:
    assert pointers(problem(await post(client, event(namespace) | attributes), 422, "invalid-request")) == [pointer]
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("cloudevents-media-types")
async def test_an_event_is_of_its_media_type(client: httpx.AsyncClient, namespace: str) -> None:
    problem(await post(client, event(namespace), "application/json"), 415, "unsupported-media-type")
    problem(await post(client, event(namespace), BATCH), 422, "invalid-request")
    problem(await post(client, [event(namespace)]), 422, "invalid-request")
    problem(await post(client, "{"), 400, "malformed-json")
    answered(await post(client, event(namespace), f"{EVENT}; charset=utf-8"), 201)


@pytest.mark.case("cloudevents-round-trip")
async def test_an_event_goes_out_as_it_came_in(client: httpx.AsyncClient, namespace: str) -> None:
    sent = [
        named(namespace, subject="order-1", time="2026-11-23T09:59:59Z", traceid="t-1", data={"a": 1}),
        event(namespace, datacontenttype="image/png", data_base64="AAEC"),
        event(namespace, attempt=3, urgent=True, calm=False, below=-1, zero=0, text="5", other="true", data=None),
        event(namespace, time="2018-04-05t17:31:00z"),
        event(namespace, time="2016-12-31T23:59:60Z", type="com.example/thing made@v1"),
    ]
    answered(await post(client, sent, BATCH), 201)
    for one, other in zip(await exported(client, namespace), sent, strict=True):
        assert {name: one[name] for name in other} == other
        assert {type(one[name]) for name in other} == {type(value) for value in other.values()}
        assert ("data" in one) == ("data" in other)


@pytest.mark.case("cloudevents-of-a-fact")
async def test_a_fact_goes_out_whole_and_comes_in_again(client: httpx.AsyncClient, namespace: str) -> None:
    meta = {"tenant": "a", "label": ["x", "y"], "ce-Odd": "1"}
    given = fact(namespace, version=2, aggregate_ids=["order-1", "customer-2"], meta=meta, payload=[1.5])
    answer = await publish(client, given)
    (out,) = await exported(client, namespace)
    assert out == {
        "specversion": "1.0",
        "id": ids_of(answer)[0],
        "source": f"/v1/namespaces/{namespace}",
        "type": "Noted",
        "time": answer["published_at"],
        "namespace": namespace,
        "factposition": str(answer["position"]),
        "factpublishedat": answer["published_at"],
        "factversion": 2,
        "factaggregateids": '["customer-2","order-1"]',
        "factmeta": out["factmeta"],
        "data": [1.5],
    }
    assert json.loads(out["factmeta"]) == meta
    again = out | {"id": str(uuid.uuid4())}
    answered(await post(client, again), 201)
    first, second = await read(client, namespace=namespace)
    for part in ("type", "version", "aggregate_ids", "payload"):
        assert first[part] == second[part]
    assert second["meta"] == meta | {"ce-time": answer["published_at"]}
    problem(await post(client, out), 409, "fact-id-conflict")
    del out["time"]
    answered(await post(client, out), 200)  # the same fact is known


@pytest.mark.case("cloudevents-own-extensions")
async def test_an_event_cannot_say_what_only_the_store_knows(client: httpx.AsyncClient, namespace: str) -> None:
    answered(await post(client, named(namespace, factredacted=True, facterased=True, factunreadable=True, data=1)), 201)
    (out,) = await exported(client, namespace)
    assert {"factredacted", "facterased", "factunreadable"}.isdisjoint(out)
    for meta in ({"ce-time": "yesterday"}, {"ce-data": "base64"}):
        refused = await post(client, named(namespace, "A-2", factmeta=json.dumps(meta), data="no base64"))
        assert pointers(problem(refused, 422, "invalid-request")) == ["/factmeta"]


@pytest.mark.case("cloudevents-stream")
async def test_a_stream_of_events_has_the_cursors_of_its_facts(
    client: httpx.AsyncClient, base_url: str, namespace: str
) -> None:
    answered(await post(client, named(namespace)), 201)
    async with follow(base_url, {"namespace": namespace}, path="/v1/stream/cloudevents") as stream:
        history = await stream.take_until_caught_up()
        answer = answered(await post(client, named(namespace, "A-2")), 201)
        live = await stream.next_fact()
    assert [frame.json()["id"] for frame in (history[0], live)] == ["A-1", "A-2"]
    assert (live.id, live.json()["factposition"]) == (answer["cursor"], str(answer["position"]))
    headers = {"last-event-id": history[0].id}
    async with follow(base_url, {"namespace": namespace}, path="/v1/stream/cloudevents", headers=headers) as stream:
        assert (await stream.next_fact()).json() == live.json()


async def post_binary(client: httpx.AsyncClient, headers: Json, content: bytes = b"") -> httpx.Response:
    return await client.post("/v1/facts/cloudevents", content=content, headers=headers)


def binary(namespace: str, **attributes: str) -> dict[str, str]:
    given = {"specversion": "1.0", "id": "A-1", "source": f"/{namespace}", "type": "Noted", "namespace": namespace}
    return {f"ce-{name}": value for name, value in (given | attributes).items()}


@pytest.mark.case("cloudevents-binary")
@pytest.mark.parametrize(
    ("media_type", "content", "data"),
    [
        ("application/json", b'{"total": 12.5}', {"data": {"total": 12.5}}),
        ("application/json; charset=utf-8", b"null", {"data": None}),
        ("application/vnd.order+json", b"[1]", {"data": [1]}),
        ("text/plain", "Größe".encode(), {"data": "Größe"}),
        ("text/xml", b"<a/>", {"data": "<a/>"}),
        ("image/png", b"\x00\x01\x02", {"data_base64": "AAEC"}),
        ("text/plain", b"\xff", {"data_base64": "/w=="}),
        ("", b"", {}),
    ],
    ids=str,
)
async def test_an_event_in_binary_mode_is_the_same_event(
    client: httpx.AsyncClient, namespace: str, media_type: str, content: bytes, data: Json
) -> None:
    headers = binary(namespace, subject="order%201", traceid='"t-1"', text="Gr%C3%B6%C3%9Fe")
    if media_type:
        headers["content-type"] = media_type
    answer = answered(await post_binary(client, headers, content), 201)
    (out,) = await exported(client, namespace)
    assert (out["id"], out["subject"], out["traceid"], out["text"]) == ("A-1", "order 1", "t-1", "Größe")
    assert {name: out[name] for name in ("data", "data_base64") if name in out} == data
    assert out.get("datacontenttype") == (media_type or None)
    structured = {name.removeprefix("ce-"): value for name, value in headers.items() if name.startswith("ce-")}
    structured |= {"subject": "order 1", "traceid": "t-1", "text": "Größe"} | data
    structured |= {"datacontenttype": media_type} if media_type else {}
    again = await post(client, json.dumps(structured, ensure_ascii=False))
    assert ids_of(answered(again, 200)) == ids_of(answer)


@pytest.mark.case("cloudevents-binary-refusals")
async def test_what_is_wrong_in_binary_mode_names_the_header(client: httpx.AsyncClient, namespace: str) -> None:
    good = binary(namespace) | {"content-type": "application/json"}
    for wrong, named_ in (
        ({"ce-type": ""}, "ce-type"),
        ({"ce-specversion": "0.3"}, "ce-specversion"),
        ({"ce-time": "yesterday"}, "ce-time"),
        ({"ce-some_name": "x"}, "ce-some_name"),
    ):
        told = problem(await post_binary(client, good | wrong, b"1"), 422, "invalid-request")
        assert [error["parameter"] for error in told["errors"]] == [named_]
    problem(await post_binary(client, good | {"ce-id": "%ff"}, b"1"), 400, "malformed-parameter")
    problem(await post_binary(client, good, b"{"), 400, "malformed-json")
    without_mark = {name: value for name, value in good.items() if name != "ce-specversion"}
    problem(await post_binary(client, without_mark, b"1"), 415, "unsupported-media-type")
    assert await read(client, namespace=namespace) == []


@pytest.mark.case("cloudevents-long-attributes")
async def test_long_attributes_are_kept_and_found(client: httpx.AsyncClient, namespace: str) -> None:
    """As a presigned URL in `dataref`, or the key of an object as the `subject`."""
    long, key = "https://store.example/" + "x" * 2000, "folder/" * 100
    sent = [
        named(namespace, dataref=long, subject=key),
        named(namespace, "A-2", dataref=long[:-1], subject=key, factaggregateids='["order-1"]'),
        named(namespace, "A-3") | {"source": f"/{namespace}/" + "é" * 1000},
    ]
    answered(await post(client, sent, BATCH), 201)
    for one, other in zip(await exported(client, namespace), sent, strict=True):
        assert {name: one[name] for name in other} == other
    stored = await read(client, namespace=namespace)
    assert [each["aggregate_ids"] for each in stored] == [[], ["order-1"], []]
    for meta, found in (({"ce-dataref": long}, 1), ({"ce-subject": key}, 2), ({"ce-dataref": long[:-2]}, 0)):
        item = {"namespaces": [namespace], "meta": meta}
        page = answered(await client.post("/v1/facts/search", json={"items": [item]}))
        assert len(page["facts"]) == found
    told = problem(
        await client.post("/v1/facts", json={"facts": [fact(namespace, meta={"k": "x" * 257})]}), 422, "invalid-request"
    )
    assert pointers(told) == ["/facts/0/meta/k"]
