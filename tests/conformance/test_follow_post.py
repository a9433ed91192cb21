"""`POST /v1/stream`: a stream for a query that is too large for a URL."""

from __future__ import annotations

import httpx
import pytest

from tests.conformance.queries import Query, every_query, publish_corpus
from tests.conformance.streams import follow
from tests.conformance.wire import fact, ids_of, publish, publish_many


@pytest.mark.case("follow-post-by-query")
@every_query
async def test_a_posted_query_finds_what_it_describes(client: httpx.AsyncClient, base_url: str, query: Query) -> None:
    corpus = await publish_corpus(client)
    body = {"items": corpus.items(query.items)}
    async with follow(base_url, {"after": corpus.before}, body=body) as stream:
        frames = await stream.take_until_caught_up()
    assert corpus.labels([frame.json()["id"] for frame in frames[:-1]]) == list(query.matches)


@pytest.mark.case("follow-post-everything")
async def test_a_posted_query_without_items_finds_every_fact(client: httpx.AsyncClient, base_url: str) -> None:
    corpus = await publish_corpus(client)
    async with follow(base_url, {"after": corpus.before}, body={"items": []}) as stream:
        frames = await stream.take_until_caught_up()
    assert corpus.labels([frame.json()["id"] for frame in frames[:-1]]) == list(corpus.ids)


@pytest.mark.case("follow-post-is-a-stream")
async def test_a_posted_stream_is_live_and_has_the_same_bytes(
    client: httpx.AsyncClient, base_url: str, namespace: str
) -> None:
    body = {"items": [{"namespaces": [namespace]}]}
    parameters = {"after": "head", "heartbeat": 60, "event": "type"}
    async with (
        follow(base_url, parameters, body=body) as posted,
        follow(base_url, {**parameters, "namespace": namespace}) as got,
    ):
        await posted.take_until_caught_up()
        await got.take_until_caught_up()
        await publish(client, fact(namespace))
        assert (await posted.next_fact()).text == (await got.next_fact()).text
    assert posted.received.startswith(b"retry: 2000\n:ok\n")
    assert posted.headers["cache-control"] == got.headers["cache-control"]


@pytest.mark.case("follow-post-resume")
async def test_last_event_id_wins_in_a_posted_stream_too(
    client: httpx.AsyncClient, base_url: str, namespace: str
) -> None:
    first = await publish(client, fact(namespace))
    new = await publish_many(client, namespace, 2)
    body = {"items": [{"namespaces": [namespace]}]}
    async with follow(base_url, {"after": "start"}, headers={"last-event-id": first["cursor"]}, body=body) as stream:
        frames = await stream.take_until_caught_up()
    assert [frame.json()["id"] for frame in frames[:-1]] == new
    assert ids_of(first)[0] not in new
