"""`GET /v1/stream`: history, then live."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import pytest

from tests.conformance.frames import Frame
from tests.conformance.queries import (
    Query,
    as_parameters,
    every_awkward_value,
    every_query,
    every_query_of_parameters,
    publish_corpus,
)
from tests.conformance.streams import follow
from tests.conformance.wire import (
    Json,
    fact,
    head_cursor,
    identified,
    ids_of,
    position_of,
    positions_of,
    publish,
    publish_many,
)


def ids(frames: list[Frame]) -> list[str]:
    return [frame.json()["id"] for frame in frames if frame.event != "caught-up"]


@pytest.mark.case("follow-empty-log")
async def test_a_stream_of_an_empty_log_is_caught_up_at_once(empty_url: str) -> None:
    async with follow(empty_url) as stream:
        frame = await stream.next_frame()
    assert frame.text == f'event: caught-up\ndata: {{"position":0,"head":0}}\nid: {frame.id}\n\n'.encode()
    assert frame.position == 0


@pytest.mark.case("follow-headers")
async def test_the_headers_keep_caches_and_proxies_from_holding_a_stream(base_url: str) -> None:
    async with follow(base_url, {"after": "head"}, headers={"accept-encoding": "gzip, zstd"}) as stream:
        headers = stream.headers
    assert stream.status == 200
    assert headers["content-type"].replace(" ", "").lower() in {
        "text/event-stream",
        "text/event-stream;charset=utf-8",
    }
    assert {part.strip() for part in headers["cache-control"].split(",")} == {"no-store", "no-transform"}
    assert headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in headers


@pytest.mark.case("follow-first-bytes")
async def test_the_first_bytes_are_sent_at_once(base_url: str) -> None:
    async with follow(base_url, {"after": "head", "heartbeat": 60}) as stream:
        body = await stream.bytes_until(lambda body: len(body) >= 16, within_seconds=2)
    assert body.startswith(b"retry: 2000\n:ok\n")


@pytest.mark.case("follow-frame-bytes")
async def test_a_frame_is_exactly_the_id_and_the_fact(client: httpx.AsyncClient, base_url: str, namespace: str) -> None:
    sent = identified(namespace, "Placed", aggregate_ids=["b", "a"], meta={"l": ["y", "x"], "k": "é"})
    async with follow(base_url, {"namespace": namespace, "after": "head"}) as live:
        await live.take_until_caught_up()
        answer = await publish(client, sent)
        frame = await live.next_fact()
    document = (
        f'{{"position":{answer["position"]},"published_at":"{answer["published_at"]}","id":"{sent["id"]}",'
        f'"namespace":"{namespace}","type":"Placed","version":1,"aggregate_ids":["a","b"],'
        f'"meta":{{"k":"é","l":["x","y"]}},"payload":{{}}}}'
    )
    assert frame.text == f"data: {document}\nid: {answer['cursor']}\n\n".encode()
    async with follow(base_url, {"namespace": namespace}) as history:
        assert (await history.next_fact()).text == frame.text


@pytest.mark.case("follow-caught-up-frame")
async def test_caught_up_says_where_history_ended(client: httpx.AsyncClient, base_url: str, namespace: str) -> None:
    answer = await publish(client, fact(namespace))
    async with follow(base_url, {"namespace": namespace}) as stream:
        caught_up = (await stream.take_until_caught_up())[-1]
    told = caught_up.json()
    assert caught_up.data == b'{"position":%d,"head":%d}' % (told["position"], told["head"])
    assert answer["position"] <= caught_up.position == told["position"] <= told["head"]


@pytest.mark.case("follow-history-then-live")
async def test_history_comes_first_then_what_is_published(
    client: httpx.AsyncClient, base_url: str, namespace: str
) -> None:
    old = await publish_many(client, namespace, 3)
    async with follow(base_url, {"namespace": namespace}) as stream:
        assert ids(await stream.take_until_caught_up()) == old
        for _ in range(5):
            (new,) = await publish_many(client, namespace, 1)
            assert (await stream.next_fact()).json()["id"] == new
        batch = await publish_many(client, namespace, 50)
        assert [(await stream.next_fact()).json()["id"] for _ in batch] == batch


@pytest.mark.case("follow-caught-up-once")
async def test_caught_up_comes_exactly_once(client: httpx.AsyncClient, base_url: str, namespace: str) -> None:
    await publish_many(client, namespace, 2)
    async with follow(base_url, {"namespace": namespace, "heartbeat": 3}) as stream:
        await stream.take_until_caught_up()
        await publish_many(client, namespace, 2)
        await publish(client, fact(f"{namespace}.other"))
        events = [frame.event for frame in await stream.take_until(lambda frame: frame.event == "position")]
        (last,) = await publish_many(client, namespace, 1)
        events += [frame.event for frame in await stream.take_through(last)]
    assert "caught-up" not in events
    assert events.count("") == 3


@pytest.mark.case("follow-after-head")
async def test_a_stream_after_the_head_has_no_history(client: httpx.AsyncClient, base_url: str, namespace: str) -> None:
    await publish_many(client, namespace, 2)
    async with follow(base_url, {"namespace": namespace, "after": "head"}) as stream:
        assert ids(await stream.take_until_caught_up()) == []
        (new,) = await publish_many(client, namespace, 1)
        assert (await stream.next_fact()).json()["id"] == new


@pytest.mark.case("follow-after")
@pytest.mark.parametrize("spelled", ["cursor", "position", "fact-id"])
async def test_after_is_exclusive_however_it_is_spelled(
    client: httpx.AsyncClient, base_url: str, namespace: str, spelled: str
) -> None:
    first, second = await publish(client, fact(namespace)), await publish(client, fact(namespace))
    after = {"cursor": first["cursor"], "position": first["position"], "fact-id": ids_of(first)[0]}[spelled]
    async with follow(base_url, {"namespace": namespace, "after": after}) as stream:
        assert ids(await stream.take_until_caught_up()) == ids_of(second)


@pytest.mark.case("follow-from-the-start")
@pytest.mark.parametrize("parameters", [{}, {"after": "start"}, {"after": "0"}], ids=repr)
async def test_a_stream_is_from_the_start_unless_told_otherwise(
    client: httpx.AsyncClient, base_url: str, namespace: str, parameters: Json
) -> None:
    known = await publish_many(client, namespace, 2)
    async with follow(base_url, {"namespace": namespace, **parameters}) as stream:
        assert ids(await stream.take_until_caught_up()) == known


@pytest.mark.case("follow-resume-is-exclusive")
async def test_a_stream_resumes_after_each_id_without_gap_or_repeat(
    client: httpx.AsyncClient, base_url: str, namespace: str
) -> None:
    known = await publish_many(client, namespace, 5)
    async with follow(base_url, {"namespace": namespace}) as stream:
        frames = await stream.take_until_caught_up()
    for count, frame in enumerate(frames[:-1], start=1):
        async with follow(base_url, {"namespace": namespace}, headers={"last-event-id": frame.id}) as resumed:
            assert ids(await resumed.take_until_caught_up()) == known[count:]


@pytest.mark.case("follow-resume-live")
async def test_a_stream_resumes_with_what_was_published_meanwhile(
    client: httpx.AsyncClient, base_url: str, namespace: str
) -> None:
    last, found, known = await head_cursor(client), list[str](), list[str]()
    for _ in range(5):
        known += await publish_many(client, namespace, 2)
        async with follow(base_url, {"namespace": namespace}, headers={"last-event-id": last}) as stream:
            await publish(client, fact(f"{namespace}.other"))
            known += await publish_many(client, namespace, 2)
            frames = await stream.take_through(known[-1])
            found += [frame.json()["id"] for frame in frames if not frame.event]
            last = frames[-1].id
    assert found == known


@pytest.mark.case("follow-resume-at-caught-up")
async def test_the_id_of_caught_up_is_a_good_cursor(client: httpx.AsyncClient, base_url: str, namespace: str) -> None:
    await publish_many(client, namespace, 2)
    async with follow(base_url, {"namespace": namespace}) as stream:
        caught_up = (await stream.take_until_caught_up())[-1]
    new = await publish_many(client, namespace, 2)
    async with follow(base_url, {"namespace": namespace}, headers={"last-event-id": caught_up.id}) as stream:
        assert ids(await stream.take_until_caught_up()) == new


@pytest.mark.case("follow-last-event-id-wins")
@pytest.mark.parametrize("after", ["start", "head", "0"])
async def test_last_event_id_wins_over_after(
    client: httpx.AsyncClient, base_url: str, namespace: str, after: str
) -> None:
    first, second = await publish(client, fact(namespace)), await publish(client, fact(namespace))
    headers = {"last-event-id": first["cursor"]}
    async with follow(base_url, {"namespace": namespace, "after": after}, headers=headers) as stream:
        assert ids(await stream.take_until_caught_up()) == ids_of(second)


@pytest.mark.case("follow-long-history")
async def test_a_history_longer_than_a_page_is_complete(
    client: httpx.AsyncClient, base_url: str, namespace: str
) -> None:
    known = await publish_many(client, namespace, 3000)
    async with follow(base_url, {"namespace": namespace}) as stream:
        assert ids(await stream.take_until_caught_up()) == known
        (new,) = await publish_many(client, namespace, 1)
        assert (await stream.next_fact()).json()["id"] == new


@pytest.mark.case("follow-facts-during-catch-up")
async def test_facts_that_arrive_during_catch_up_are_neither_lost_nor_repeated(
    client: httpx.AsyncClient, base_url: str, namespace: str
) -> None:
    known = await publish_many(client, namespace, 3000)
    async with follow(base_url, {"namespace": namespace}) as stream:
        frames = await stream.take(10)
        publishing = asyncio.gather(*(publish_many(client, namespace, 5) for _ in range(20)))
        frames += await stream.take(1500)
        known += [id_ for batch in await publishing for id_ in batch]
        (last,) = await publish_many(client, namespace, 1)
        frames += await stream.take_through(last)
    facts = [frame for frame in frames if not frame.event]
    assert sorted(ids(facts)) == sorted([*known, last])
    assert [frame.position for frame in facts] == sorted({frame.position for frame in facts})
    assert [frame.event for frame in frames].count("caught-up") == 1


@pytest.mark.case("follow-under-load")
async def test_a_live_stream_is_complete_and_in_order_under_load(
    client: httpx.AsyncClient, base_url: str, namespace: str
) -> None:
    async with follow(base_url, {"namespace": namespace, "after": "head"}) as stream:
        await stream.take_until_caught_up()
        publishing = asyncio.gather(*(publish(client, fact(namespace), fact(f"{namespace}.x")) for _ in range(200)))
        frames = [await stream.next_fact() for _ in range(200)]
        answers = await publishing
    assert [frame.position for frame in frames] == sorted(positions_of(answer)[0] for answer in answers)


@pytest.mark.case("follow-by-parameters")
@every_query_of_parameters
async def test_only_matching_facts_are_sent(client: httpx.AsyncClient, base_url: str, query: Query) -> None:
    corpus = await publish_corpus(client)
    (item,) = corpus.items(query.items)
    async with follow(base_url, [*as_parameters(item), ("after", corpus.before)]) as stream:
        found = ids(await stream.take_until_caught_up())
    assert corpus.labels(found) == list(query.matches)
    assert len(found) == len(query.matches)


@pytest.mark.case("follow-live-by-query")
@every_query
async def test_only_matching_facts_are_sent_live(client: httpx.AsyncClient, base_url: str, query: Query) -> None:
    before = await publish_corpus(client)
    items = before.items([*query.items, {"types": ["~End"]}])
    async with follow(base_url, {"query": json.dumps({"items": items}), "after": "head"}) as stream:
        await stream.take_until_caught_up()
        corpus = await publish_corpus(client, token=before.token)
        end = await publish(client, fact(corpus.token, f"{corpus.token}-End"))
        frames = await stream.take_through(ids_of(end)[0])
    assert corpus.labels([frame.json()["id"] for frame in frames if not frame.event]) == list(query.matches)


@pytest.mark.case("follow-awkward-values")
@every_awkward_value
async def test_awkward_values_are_matched_literally(
    client: httpx.AsyncClient, base_url: str, namespace: str, value: str
) -> None:
    filters = [("namespace", namespace), ("aggregate_id", value), ("meta", f"key:{value}")]
    async with follow(base_url, [*filters, ("after", "head")]) as stream:
        await stream.take_until_caught_up()
        await publish(client, fact(namespace, aggregate_ids=["x"], meta={"key": "x"}))
        answer = await publish(client, fact(namespace, aggregate_ids=[value], meta={"key": value}))
        live = await stream.next_fact()
    assert live.json()["id"] == ids_of(answer)[0]
    async with follow(base_url, filters) as stream:
        assert (await stream.next_fact()).text == live.text


@pytest.mark.case("follow-every-fact")
async def test_a_stream_without_filters_has_every_position(client: httpx.AsyncClient, base_url: str) -> None:
    corpus = await publish_corpus(client)
    async with follow(base_url, {"after": corpus.before}) as stream:
        frames = await stream.take_until_caught_up()
    first = position_of(corpus.before) + 1
    assert [frame.position for frame in frames[:-1]] == list(range(first, first + len(frames) - 1))
    assert corpus.labels(ids(frames)) == list(corpus.ids)


@pytest.mark.case("follow-sparse-catch-up")
async def test_the_cursor_of_a_sparse_consumer_moves_while_catching_up(
    client: httpx.AsyncClient, base_url: str, namespace: str
) -> None:
    match = await publish(client, fact(namespace))
    await publish_many(client, f"{namespace}.other", 3000)
    head = position_of(await head_cursor(client))
    async with follow(base_url, {"namespace": namespace, "after": match["position"] - 1}) as stream:
        frames = await stream.take_until_caught_up()
    assert ids(frames) == ids_of(match)
    assert frames[-1].position >= head


@pytest.mark.case("follow-sparse-live")
async def test_the_cursor_of_a_sparse_consumer_moves_while_following(
    client: httpx.AsyncClient, base_url: str, namespace: str
) -> None:
    async with follow(base_url, {"namespace": namespace, "after": "head", "heartbeat": 3}) as stream:
        await stream.take_until_caught_up()
        unrelated = await publish(client, fact(f"{namespace}.other"))
        frame = (await stream.take_until(lambda frame: frame.position >= unrelated["position"]))[-1]
    assert frame.text == b'event: position\ndata: {"position":%d}\nid: %b\n\n' % (frame.position, frame.id.encode())
    new = await publish_many(client, namespace, 1)
    async with follow(base_url, {"namespace": namespace}, headers={"last-event-id": frame.id}) as resumed:
        assert ids(await resumed.take_until_caught_up()) == new


@pytest.mark.case("follow-heartbeat")
async def test_a_heartbeat_is_a_colon_and_a_line_feed(base_url: str, namespace: str) -> None:
    async with follow(base_url, {"namespace": namespace, "after": "head", "heartbeat": 3}) as stream:
        body = await stream.bytes_until(lambda body: body.endswith(b"\n:\n:\n"), within_seconds=15)
    live = body[body.index(b"event: caught-up") :].partition(b"\n\n")[2]
    # On a foreign log the cursor may move meanwhile.
    moved = rb'event: position\ndata: \{"position":\d+\}\nid: \d+:\d+\n\n'
    assert re.fullmatch(rb"(:\n){2,}", re.sub(moved, b"", live))


@pytest.mark.case("follow-event-names")
async def test_events_are_named_by_namespace_and_type_where_asked_for(
    client: httpx.AsyncClient, base_url: str, namespace: str
) -> None:
    old = await publish(client, fact(namespace, "Order.Placed"))
    async with follow(base_url, {"namespace": namespace, "event": "type"}) as stream:
        history, caught_up = await stream.take_until_caught_up()
        new = await publish(client, fact(namespace, "Paid"))
        live = await stream.next_fact()
    assert history.text.startswith(f"event: {namespace}/Order.Placed\ndata: ".encode())
    assert history.id == old["cursor"]
    assert live.text.startswith(f"event: {namespace}/Paid\ndata: ".encode())
    assert live.id == new["cursor"]
    assert caught_up.event == "caught-up"


@pytest.mark.case("follow-many")
async def test_streams_with_the_same_and_with_other_queries_do_not_disturb_each_other(
    client: httpx.AsyncClient, base_url: str, namespace: str
) -> None:
    async def take(kind: str) -> list[Any]:
        async with follow(base_url, {"namespace": namespace, "type": kind, "after": "head"}) as stream:
            await stream.take_until_caught_up()
            ready.release()
            return [(await stream.next_fact()).json()["payload"] for _ in range(20)]

    ready = asyncio.Semaphore(0)
    taking = [asyncio.create_task(take(kind)) for kind in ("A", "B") * 10]
    async with asyncio.timeout(20):
        for _ in taking:
            await ready.acquire()
    for n in range(20):
        await publish(client, fact(namespace, "A", payload=n), fact(namespace, "B", payload=-n))
    taken = await asyncio.gather(*taking)
    assert taken == [list(range(20)), [-n for n in range(20)]] * 10


@pytest.mark.case("follow-behind-a-large-fact")
async def test_facts_behind_the_largest_one_are_delivered(
    client: httpx.AsyncClient, base_url: str, namespace: str
) -> None:
    async with follow(base_url, {"namespace": namespace, "after": "head"}) as stream:
        await stream.take_until_caught_up()
        large = await publish(client, fact(namespace, payload="x" * (1024 * 1024 - 2)))
        small = await publish(client, fact(namespace))
        frames = await stream.take_through(ids_of(small)[0])
    assert ids(frames) == [*ids_of(large), *ids_of(small)]
