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
    assert (stored["aggregate_ids"], stored["payload"], stored["meta"]) == ([], None, {"ce-source": SOURCE})


@pytest.mark.case("cloudevents-data-is-exact")
@pytest.mark.parametrize("data", ['{"b":1.10,"a":1e400,"b":2}', '"\\ud800"', "[1,\n 2]", '"\\u00e9"', "null"])
async def test_data_is_kept_as_it_was_sent(client: httpx.AsyncClient, namespace: str, data: str) -> None:
    text = json.dumps(event(namespace))[:-1] + f', "data": {data}}}'
    answered(await post(client, text), 201)
    kept = data.replace("\n", " ").encode()
    for path in ("/v1/facts", "/v1/facts/cloudevents"):
        assert kept in (await client.get(path, params={"namespace": namespace})).content


@pytest.mark.case("cloudevents-id-that-is-no-uuid")
async def test_an_id_that_is_no_uuid_is_made_one_of_source_and_id(client: httpx.AsyncClient, namespace: str) -> None:
    sent = [named(namespace), named(namespace) | {"source": f"/other/{namespace}"}]
    answer = answered(await post(client, sent, BATCH), 201)
    expected = [uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_URL, one["source"]), "A-1") for one in sent]
    assert ids_of(answer) == list(map(str, expected))
    assert [one["meta"]["ce-id"] for one in await read(client, namespace=namespace)] == ["A-1", "A-1"]
    assert [one["id"] for one in await exported(client, namespace)] == ["A-1", "A-1"]


@pytest.mark.case("cloudevents-retry")
async def test_a_repeated_event_is_known(client: httpx.AsyncClient, namespace: str) -> None:
    sent = named(namespace, data=1)
    first = answered(await post(client, sent), 201)
    assert positions_of(answered(await post(client, sent), 200)) == positions_of(first)
    problem(await post(client, sent | {"data": 2}), 409, "fact-id-conflict")


@pytest.mark.case("cloudevents-batch-is-atomic")
async def test_of_a_batch_with_a_wrong_event_nothing_is_published(client: httpx.AsyncClient, namespace: str) -> None:
    wrong = event(namespace, subject="x" * 257)
    told = problem(
        await post(client, [event(namespace), wrong, event(namespace, type="")], BATCH), 422, "invalid-request"
    )
    assert pointers(told) == ["/1/subject", "/2/type"]
    assert await read(client, namespace=namespace) == []
    problem(await post(client, [], BATCH), 422, "invalid-request")


@pytest.mark.case("cloudevents-refusals")
@pytest.mark.parametrize(
    ("attributes", "pointer"),
    [
        ({"specversion": "0.3"}, "/specversion"),
        ({"specversion": None}, "/specversion"),
        ({"id": ""}, "/id"),
        ({"source": None}, "/source"),
        ({"source": "x" * 257}, "/source"),
        ({"type": "a b"}, "/type"),
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
    ]
    answered(await post(client, sent, BATCH), 201)
    for one, other in zip(await exported(client, namespace), sent, strict=True):
        assert {name: one[name] for name in other} == other


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
