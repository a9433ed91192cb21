"""`GET /v1/activity`: how many facts were published over time."""

from __future__ import annotations

from datetime import datetime, timedelta

import httpx
import pytest

from tests.conformance.wire import Json, answered, eventually, fact, problem, publish

MINUTE = timedelta(minutes=1)


async def activity(client: httpx.AsyncClient, namespace: str, *, total: int) -> Json:
    """The activity of a namespace once its facts are counted, which happens beside publishing."""

    async def ask() -> Json:
        return dict(answered(await client.get("/v1/activity", params={"namespace": namespace})))

    return await eventually(ask, lambda told: sum(each["total"] for each in told["series"]) == total)


@pytest.mark.case("activity-default")
async def test_the_last_hour_is_counted_by_minute(client: httpx.AsyncClient, namespace: str) -> None:
    published = (await publish(client, fact(namespace), fact(namespace)))["published_at"]
    told = await activity(client, namespace, total=2)
    begin, end = datetime.fromisoformat(told["from"]), datetime.fromisoformat(told["to"])
    [series] = told["series"]
    assert (told["interval"], end - begin, len(series["facts"])) == (60, 60 * MINUTE, 60)
    assert (begin.second, begin.microsecond) == (0, 0)
    place = (datetime.fromisoformat(published) - begin) // MINUTE
    assert series == {"total": 2, "facts": [2 if each == place else 0 for each in range(60)]}
    assert datetime.fromisoformat(told["counted_until"]) >= datetime.fromisoformat(published).replace(microsecond=0)
    assert "rest" not in told


@pytest.mark.case("activity-of-nothing")
async def test_where_nothing_was_published_all_intervals_are_empty(client: httpx.AsyncClient, namespace: str) -> None:
    parameters = {"namespace": namespace, "from": "2026-01-31T12:00:00Z", "to": "2026-01-31T12:03:00Z"}
    told = answered(await client.get("/v1/activity", params=parameters))
    assert told["series"] == [{"total": 0, "facts": [0, 0, 0]}]
    assert answered(await client.get("/v1/activity", params={**parameters, "by": "type"}))["series"] == []


@pytest.mark.case("activity-series")
async def test_facts_are_counted_by_namespace_and_by_type(client: httpx.AsyncClient, namespace: str) -> None:
    other = f"{namespace}.b"
    await publish(client, fact(namespace, "Placed"), fact(namespace, "Paid"), fact(namespace, "Placed"), fact(other))
    everywhere = [("namespace", namespace), ("namespace", other)]

    async def named(by: str) -> list[Json]:
        async def ask() -> Json:
            return dict(answered(await client.get("/v1/activity", params=[*everywhere, ("by", by)])))

        told = await eventually(ask, lambda told: sum(each["total"] for each in told["series"]) == 4)
        return [{name: value for name, value in each.items() if name != "facts"} for each in told["series"]]

    assert await named("namespace") == [{"total": 3, "namespace": namespace}, {"total": 1, "namespace": other}]
    assert [(each["total"], each["namespace"], each["type"]) for each in await named("type")] == [
        (2, namespace, "Placed"),
        (1, namespace, "Paid"),
        (1, other, fact(other)["type"]),
    ]


@pytest.mark.case("activity-whole-intervals")
@pytest.mark.parametrize(
    ("interval", "begin", "end"),
    [
        (60, "2026-01-31T12:07:00.000000Z", "2026-01-31T12:31:00.000000Z"),
        (300, "2026-01-31T12:05:00.000000Z", "2026-01-31T12:35:00.000000Z"),
        (86400, "2026-01-31T00:00:00.000000Z", "2026-02-01T00:00:00.000000Z"),
    ],
)
async def test_a_range_is_extended_to_whole_intervals(
    client: httpx.AsyncClient, interval: int, begin: str, end: str
) -> None:
    parameters = {"from": "2026-01-31T13:07:59+01:00", "to": "2026-01-31T12:30:00.5Z", "interval": str(interval)}
    told = answered(await client.get("/v1/activity", params=parameters))
    assert (told["from"], told["to"]) == (begin, end)


@pytest.mark.case("activity-refusals")
@pytest.mark.parametrize(
    ("parameters", "status", "code", "parameter"),
    [
        ({"from": "yesterday"}, 400, "malformed-parameter", "from"),
        ({"to": "0001-01-01T00:00:00Z"}, 400, "malformed-parameter", "to"),
        ({"to": "9999-12-31T23:59:59Z"}, 400, "malformed-parameter", "to"),
        (
            {"from": "2026-01-31T13:00:00Z", "to": "2026-01-31T12:00:00Z"},
            *(400, "malformed-parameter", "from"),
        ),
        ({"interval": "59"}, 400, "malformed-parameter", "interval"),
        ({"interval": "90"}, 400, "malformed-parameter", "interval"),
        ({"interval": "604860"}, 422, "limit-exceeded", "interval"),
        ({"by": "principal"}, 400, "malformed-parameter", "by"),
        ({"namespace": "a b"}, 422, "invalid-request", "namespace"),
        ({"namespace": "\x00"}, 422, "invalid-request", "namespace"),
        ({"namespace": "x" * 5000}, 422, "invalid-request", "namespace"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-01-31T12:00:00Z"}, 422, "limit-exceeded", "interval"),
    ],
)
async def test_parameters_that_make_no_sense_are_refused(
    client: httpx.AsyncClient, parameters: dict[str, str], status: int, code: str, parameter: str
) -> None:
    told = problem(await client.get("/v1/activity", params=parameters), status, code)
    assert [each["parameter"] for each in told["errors"]] == [parameter]
