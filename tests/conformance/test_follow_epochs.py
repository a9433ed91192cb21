"""`GET /v1/stream` where history was lost: cursors of an older epoch, and streams at the change."""

from __future__ import annotations

import httpx
import pytest

from tests.conformance.conftest import RaiseEpoch
from tests.conformance.streams import follow
from tests.conformance.wire import epoch_of, fact, head_cursor, ids_of, position_of, problem, publish, publish_many


@pytest.mark.case("follow-older-epoch-before-the-fork")
async def test_a_cursor_of_an_older_epoch_is_good_up_to_the_fork(
    client: httpx.AsyncClient, base_url: str, namespace: str, raise_epoch: RaiseEpoch
) -> None:
    answers = [await publish(client, fact(namespace)) for _ in range(3)]
    await raise_epoch(answers[1]["position"])
    epoch = epoch_of(await head_cursor(client))
    for count, answer in enumerate(answers[:2], start=1):
        headers = {"last-event-id": answer["cursor"]}
        async with follow(base_url, {"namespace": namespace}, headers=headers) as stream:
            frames = await stream.take_until_caught_up()
        assert [frame.json()["id"] for frame in frames[:-1]] == [ids_of(each)[0] for each in answers[count:]]
        assert {epoch_of(frame.id) for frame in frames} == {epoch}


@pytest.mark.case("follow-older-epoch-after-the-fork")
async def test_a_cursor_of_an_older_epoch_after_the_fork_is_refused(
    client: httpx.AsyncClient, namespace: str, raise_epoch: RaiseEpoch
) -> None:
    kept, lost = await publish(client, fact(namespace)), await publish(client, fact(namespace))
    await raise_epoch(kept["position"])
    for parameters, headers in (({"after": lost["cursor"]}, {}), ({}, {"last-event-id": lost["cursor"]})):
        async with client.stream("GET", "/v1/stream", params=parameters, headers=headers) as response:
            assert response.status_code == 409
            await response.aread()
        told = problem(response, 409, "cursor-forked")
        assert told["forked_after"] == kept["position"]
        assert told["epoch"] == epoch_of(await head_cursor(client))


@pytest.mark.case("follow-epochs-in-a-row")
async def test_a_cursor_is_good_only_up_to_the_lowest_fork_after_it(
    client: httpx.AsyncClient, base_url: str, namespace: str, raise_epoch: RaiseEpoch
) -> None:
    answers = [await publish(client, fact(namespace)) for _ in range(3)]
    await raise_epoch(answers[0]["position"])
    between = await head_cursor(client)
    await raise_epoch(position_of(between))
    async with follow(base_url, {"namespace": namespace, "after": between}) as stream:
        assert len(await stream.take_until_caught_up()) == 1
    response = await client.get("/v1/facts", params={"after": answers[1]["cursor"]})
    assert problem(response, 409, "cursor-forked")["forked_after"] == answers[0]["position"]


@pytest.mark.case("follow-streams-end-with-their-epoch")
async def test_streams_end_cleanly_when_the_epoch_changes(
    client: httpx.AsyncClient, base_url: str, namespace: str, raise_epoch: RaiseEpoch
) -> None:
    async with follow(base_url, {"namespace": namespace}) as one, follow(base_url, {"after": "head"}) as other:
        caught_up = (await one.take_until_caught_up())[-1]
        await other.take_until_caught_up()
        await raise_epoch(position_of(await head_cursor(client)))
        for stream in (one, other):
            frames = await stream.take_to_the_end()
            assert {frame.event for frame in frames} <= {"", "position", "problem"}
    new = await publish_many(client, namespace, 1)
    async with follow(base_url, {"namespace": namespace}, headers={"last-event-id": caught_up.id}) as resumed:
        frames = await resumed.take_until_caught_up()
    assert [frame.json()["id"] for frame in frames[:-1]] == new
