"""`GET /v1/position`: the head, and the position at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import httpx
import pytest

from tests.conformance.wire import TIMEOUT, Json, answered, epoch_of, fact, position_of, problem, publish


async def position_at(client: httpx.AsyncClient, at: str) -> Json:
    return answered(await client.get("/v1/position", params={"at": at}))


@pytest.mark.case("position-of-an-empty-log")
async def test_the_head_of_an_empty_log_is_zero(empty_url: str) -> None:
    async with httpx.AsyncClient(base_url=empty_url, timeout=TIMEOUT) as client:
        told = answered(await client.get("/v1/position"))
    assert (told["position"], told["head"], told["published_at"]) == (0, 0, None)
    assert position_of(told["cursor"]) == 0


@pytest.mark.case("position-of-the-head")
async def test_the_head_is_where_the_newest_fact_stands(client: httpx.AsyncClient, namespace: str) -> None:
    answer = await publish(client, fact(namespace))
    told = answered(await client.get("/v1/position"))
    assert told["position"] == told["head"] == position_of(told["cursor"]) >= answer["position"]
    assert epoch_of(told["cursor"]) == epoch_of(answer["cursor"])
    assert told["published_at"] >= answer["published_at"]


@pytest.mark.case("position-at-a-time")
async def test_the_position_at_a_time_is_of_the_last_fact_before_it(client: httpx.AsyncClient, namespace: str) -> None:
    first, second = await publish(client, fact(namespace)), await publish(client, fact(namespace))
    assert first["published_at"] < second["published_at"]
    told = await position_at(client, second["published_at"])
    assert first["position"] <= told["position"] == position_of(told["cursor"]) < second["position"]
    assert first["published_at"] <= told["published_at"] < second["published_at"]
    assert told["head"] >= second["position"]


@pytest.mark.case("position-at-is-exclusive")
async def test_a_fact_published_at_the_very_time_is_not_before_it(client: httpx.AsyncClient, namespace: str) -> None:
    answer = await publish(client, fact(namespace))
    moment = datetime.fromisoformat(answer["published_at"])
    assert (await position_at(client, answer["published_at"]))["position"] < answer["position"]
    later = await position_at(client, (moment + timedelta(microseconds=1)).isoformat())
    assert later["position"] >= answer["position"]


@pytest.mark.case("position-at-offset")
async def test_a_time_may_have_an_offset(client: httpx.AsyncClient, namespace: str) -> None:
    answer = await publish(client, fact(namespace))
    moment = datetime.fromisoformat(answer["published_at"])
    elsewhere = moment.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat()
    assert (await position_at(client, elsewhere))["position"] < answer["position"]


@pytest.mark.case("position-before-all")
async def test_before_every_fact_is_position_zero(client: httpx.AsyncClient) -> None:
    told = await position_at(client, "1970-01-01T00:00:00Z")
    assert (told["position"], position_of(told["cursor"]), told["published_at"]) == (0, 0, None)


@pytest.mark.case("position-after-all")
async def test_after_every_fact_is_the_head(client: httpx.AsyncClient, namespace: str) -> None:
    answer = await publish(client, fact(namespace))
    told = await position_at(client, (datetime.now(UTC) + timedelta(days=365)).isoformat())
    assert told["position"] >= answer["position"]


@pytest.mark.case("position-at-unparsable")
@pytest.mark.parametrize(
    "at",
    [
        "yesterday",
        "",
        "2026-13-01T00:00:00Z",
        "2026-01-01T00:00:00",
        "12",
        "-1",
        "2026-W48-7T05:00:00Z",
        "2026-11-29T05:00:00,5Z",
        "2026-11-29 05:00:00Z",
        "20261129T050000Z",
    ],
)
async def test_a_time_that_cannot_be_parsed_is_refused(client: httpx.AsyncClient, at: str) -> None:
    problem(await client.get("/v1/position", params={"at": at}), 400, "malformed-parameter")


@pytest.mark.case("position-unknown-parameter")
async def test_an_unknown_parameter_is_refused(client: httpx.AsyncClient) -> None:
    problem(await client.get("/v1/position", params={"time": "x"}), 422, "unknown-parameter")
