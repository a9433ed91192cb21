"""`GET /v1/facts`: pages of history."""

from __future__ import annotations

import asyncio
import json
import time

import httpx
import pytest

from tests.conformance.conftest import RaiseEpoch
from tests.conformance.queries import (
    Query,
    as_parameters,
    every_awkward_value,
    every_query,
    every_query_of_parameters,
    publish_corpus,
)
from tests.conformance.wire import (
    TIMEOUT,
    Json,
    answered,
    epoch_of,
    fact,
    head_cursor,
    ids_of,
    page,
    pages,
    position_of,
    positions_of,
    problem,
    publish,
    publish_many,
    read,
)


@pytest.mark.case("read-empty-log")
async def test_a_page_of_an_empty_log_is_empty_and_caught_up(empty_url: str) -> None:
    async with httpx.AsyncClient(base_url=empty_url, timeout=TIMEOUT) as client:
        told = await page(client)
        head = await head_cursor(client)
    assert (told["facts"], told["position"], told["head"], told["caught_up"]) == ([], 0, 0, True)
    assert told["cursor"] == head == f"{epoch_of(head)}:0"


@pytest.mark.case("read-page-shape")
async def test_a_page_says_where_to_go_on(client: httpx.AsyncClient, namespace: str) -> None:
    answer = await publish(client, fact(namespace), fact(namespace))
    told = await page(client, namespace=namespace)
    assert positions_of(told) == positions_of(answer)
    assert told["caught_up"] is True
    assert told["head"] >= answer["position"]
    assert position_of(told["cursor"]) == told["position"] >= answer["position"]
    assert epoch_of(told["cursor"]) == epoch_of(answer["cursor"])


@pytest.mark.case("read-by-parameters")
@every_query_of_parameters
async def test_parameters_find_what_they_describe(client: httpx.AsyncClient, query: Query) -> None:
    corpus = await publish_corpus(client)
    (item,) = corpus.items(query.items)
    told = answered(await client.get("/v1/facts", params=as_parameters(item)))
    assert corpus.labels(ids_of(told)) == list(query.matches)
    assert len(told["facts"]) == len(query.matches)


@pytest.mark.case("read-by-query")
@every_query
async def test_a_query_finds_what_it_describes(client: httpx.AsyncClient, query: Query) -> None:
    corpus = await publish_corpus(client)
    items = corpus.items(query.items)
    found = await read(client, query=json.dumps({"items": items}), after=corpus.before)
    assert corpus.labels([one["id"] for one in found]) == list(query.matches)
    assert len(found) == len(query.matches)


@pytest.mark.case("read-descending-by-query")
@every_query
async def test_a_descending_page_finds_the_same_in_reverse(client: httpx.AsyncClient, query: Query) -> None:
    corpus = await publish_corpus(client)
    items = corpus.items(query.items)
    told = await page(client, query=json.dumps({"items": items}), after=corpus.before, order="desc")
    assert corpus.labels(ids_of(told)) == list(reversed(query.matches))


@pytest.mark.case("read-everything")
@pytest.mark.parametrize("parameters", [{}, {"query": '{"items": []}'}], ids=["no-query", "no-items"])
async def test_no_filter_is_every_fact(client: httpx.AsyncClient, parameters: Json) -> None:
    corpus = await publish_corpus(client)
    found = await read(client, after=corpus.before, **parameters)
    assert corpus.labels([one["id"] for one in found]) == list(corpus.ids)
    positions = [one["position"] for one in found]
    first = position_of(corpus.before) + 1
    assert positions == list(range(first, first + len(positions)))


@pytest.mark.case("read-awkward-values")
@every_awkward_value
async def test_awkward_values_are_matched_literally(client: httpx.AsyncClient, namespace: str, value: str) -> None:
    answer = await publish(
        client,
        fact(namespace, aggregate_ids=[value], meta={"key": value}),
        fact(namespace, aggregate_ids=["other"], meta={"key": ["another", "other"]}),
    )
    for filters in ({"aggregate_id": value}, {"meta": f"key:{value}"}):
        found = await read(client, namespace=namespace, **filters)
        assert [one["id"] for one in found] == ids_of(answer)[:1]
        assert (found[0]["aggregate_ids"], found[0]["meta"]) == ([value], {"key": value})


@pytest.mark.case("read-awkward-names")
@every_awkward_value
@pytest.mark.parametrize("parameter", ["namespace", "type"])
async def test_awkward_names_match_nothing(
    client: httpx.AsyncClient, namespace: str, value: str, parameter: str
) -> None:
    await publish(client, fact(namespace))
    response = await client.get("/v1/facts", params={parameter: value, "aggregate_id": namespace})
    if response.status_code == 422:
        problem(response, 422, "invalid-request")
    else:
        assert answered(response)["facts"] == []


@pytest.mark.case("read-empty-values")
@pytest.mark.parametrize(
    "part",
    [
        {"namespaces": [""]},
        {"types": [""]},
        {"aggregate_ids": [""]},
        {"meta": {"key": ""}},
    ],
    ids=repr,
)
@pytest.mark.parametrize("by", ["parameters", "query"])
async def test_an_empty_value_never_widens_a_read(
    client: httpx.AsyncClient, namespace: str, part: Json, by: str
) -> None:
    before = (await publish(client, fact(namespace)))["position"] - 1
    filters = as_parameters(part) if by == "parameters" else [("query", json.dumps({"items": [part]}))]
    response = await client.get("/v1/facts", params=[*filters, ("after", before)])
    if response.status_code == 422:
        problem(response, 422, "invalid-request")
    else:
        assert answered(response)["facts"] == []


@pytest.mark.case("read-pages-ascending")
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_in_ascending_order_cover_all_once(client: httpx.AsyncClient, namespace: str, limit: int) -> None:
    ids = await publish_many(client, namespace, 7)
    read_pages = await pages(client, namespace=namespace, limit=limit)
    assert [one["id"] for each in read_pages for one in each["facts"]] == ids
    assert all(len(each["facts"]) <= limit for each in read_pages)
    cursors = [each["position"] for each in read_pages]
    assert cursors == sorted(set(cursors))


@pytest.mark.case("read-pages-of-many")
async def test_pages_cover_more_facts_than_one_page_holds(client: httpx.AsyncClient, namespace: str) -> None:
    ids = await publish_many(client, namespace, 2500)
    assert [one["id"] for one in await read(client, namespace=namespace)] == ids


@pytest.mark.case("read-link-next")
@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_the_link_to_the_next_page_leads_through_all(
    client: httpx.AsyncClient, namespace: str, order: str
) -> None:
    before = await head_cursor(client)
    ids = await publish_many(client, namespace, 7)
    query = json.dumps(
        {"items": [{"namespaces": [namespace]}, {"aggregate_ids": ["a&b=c#d +%"], "types": [namespace]}]}
    )
    parameters: Json = {"query": query, "limit": 3, "order": order, "after": before}
    response = await client.get("/v1/facts", params=parameters)
    found = ids_of(answered(response))
    while not response.json()["caught_up"]:
        response = await client.get(httpx.URL(str(response.url)).join(response.links["next"]["url"]))
        found += ids_of(answered(response))
    assert found == (ids if order == "asc" else ids[::-1])


@pytest.mark.case("read-link-uses-the-cursor")
async def test_the_link_to_the_next_page_uses_the_cursor(client: httpx.AsyncClient, namespace: str) -> None:
    await publish_many(client, namespace, 3)
    response = await client.get("/v1/facts", params={"namespace": namespace, "limit": 2})
    link = httpx.URL(str(response.url)).join(response.links["next"]["url"])
    assert link.params["after"] == response.json()["cursor"]
    assert (link.params["namespace"], link.params["limit"]) == (namespace, "2")


@pytest.mark.case("read-pages-descending")
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_in_descending_order_cover_all_once(client: httpx.AsyncClient, namespace: str, limit: int) -> None:
    before = await head_cursor(client)
    ids = await publish_many(client, namespace, 7)
    parameters: Json = {"namespace": namespace, "limit": limit, "order": "desc", "after": before}
    told = await page(client, **parameters)
    found = ids_of(told)
    while not told["caught_up"]:
        told = await page(client, **parameters, until=told["until"])
        found += ids_of(told)
    assert found == ids[::-1]
    assert told.get("until") is None


@pytest.mark.case("read-pages-descending-to-the-start")
async def test_descending_pages_end_at_the_start_of_the_log(client: httpx.AsyncClient, namespace: str) -> None:
    (id_,) = await publish_many(client, namespace, 1)
    told = await page(client, namespace=namespace, order="desc")
    found = ids_of(told)
    while not told["caught_up"]:
        told = await page(client, namespace=namespace, order="desc", until=told["until"])
        found += ids_of(told)
    assert found == [id_]


@pytest.mark.case("read-until-is-inclusive")
@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_until_is_inclusive(client: httpx.AsyncClient, namespace: str, order: str) -> None:
    before = await head_cursor(client)
    answer = await publish(client, *[fact(namespace) for _ in range(4)])
    positions = positions_of(answer)[:3]
    cursor = f"{epoch_of(answer['cursor'])}:{positions[-1]}"
    for until in (str(positions[-1]), cursor, ids_of(answer)[2]):
        told = await page(client, namespace=namespace, after=before, until=until, order=order)
        assert sorted(positions_of(told)) == positions


@pytest.mark.case("read-after")
@pytest.mark.parametrize("spelled", ["cursor", "position", "fact-id"])
async def test_after_is_exclusive_however_it_is_spelled(
    client: httpx.AsyncClient, namespace: str, spelled: str
) -> None:
    first = await publish(client, fact(namespace))
    second = await publish(client, fact(namespace))
    after = {"cursor": first["cursor"], "position": first["position"], "fact-id": ids_of(first)[0]}[spelled]
    assert [one["id"] for one in await read(client, namespace=namespace, after=after)] == ids_of(second)


@pytest.mark.case("read-after-start")
@pytest.mark.parametrize("parameters", [{}, {"after": "start"}, {"after": "0"}], ids=repr)
async def test_a_page_is_from_the_start_unless_told_otherwise(
    client: httpx.AsyncClient, namespace: str, parameters: Json
) -> None:
    ids = await publish_many(client, namespace, 2)
    assert [one["id"] for one in await read(client, namespace=namespace, **parameters)] == ids


@pytest.mark.case("read-after-head")
async def test_after_the_head_there_is_nothing_yet(client: httpx.AsyncClient, namespace: str) -> None:
    await publish_many(client, namespace, 2)
    told = await page(client, namespace=namespace, after="head")
    assert (told["facts"], told["caught_up"]) == ([], True)
    (id_,) = await publish_many(client, namespace, 1)
    assert [one["id"] for one in await read(client, namespace=namespace, after=told["cursor"])] == [id_]


@pytest.mark.case("read-cursor-moves-past-what-does-not-match")
async def test_a_page_moves_the_cursor_though_nothing_matches(client: httpx.AsyncClient, namespace: str) -> None:
    before = await head_cursor(client)
    answer = await publish(client, fact(namespace))
    read_pages = await pages(client, namespace=f"{namespace}.other", after=before)
    assert all(each["facts"] == [] for each in read_pages)
    assert position_of(read_pages[-1]["cursor"]) >= answer["position"]


@pytest.mark.case("read-long-poll-wakes")
async def test_a_long_poll_wakes_with_the_first_match(client: httpx.AsyncClient, namespace: str) -> None:
    cursor = await head_cursor(client)
    parameters: Json = {"namespace": namespace, "after": cursor, "wait_seconds": 15}
    started = time.monotonic()
    waiting = asyncio.create_task(client.get("/v1/facts", params=parameters))
    for _ in range(10):
        await publish(client, fact(f"{namespace}.other"))
    assert not waiting.done()
    answer = await publish(client, fact(namespace))
    told = answered(await waiting)
    assert ids_of(told) == ids_of(answer), (cursor, answer, told)
    assert position_of(told["cursor"]) >= answer["position"]
    assert time.monotonic() - started < 10


@pytest.mark.case("read-long-poll-answers-at-once")
async def test_a_long_poll_answers_at_once_where_there_is_a_match(client: httpx.AsyncClient, namespace: str) -> None:
    ids = await publish_many(client, namespace, 2)
    started = time.monotonic()
    assert ids_of(await page(client, namespace=namespace, wait_seconds=15)) == ids
    assert time.monotonic() - started < 10


@pytest.mark.case("read-long-poll-ends-empty")
async def test_a_long_poll_ends_empty_and_moves_the_cursor(client: httpx.AsyncClient, namespace: str) -> None:
    cursor = await head_cursor(client)
    started = time.monotonic()
    told = await page(client, namespace=namespace, after=cursor, wait_seconds=1)
    assert 0.9 < time.monotonic() - started < 10
    assert (told["facts"], told["caught_up"]) == ([], True)
    assert position_of(told["cursor"]) >= position_of(cursor)


@pytest.mark.case("read-after-older-epoch")
async def test_a_cursor_of_an_older_epoch_is_good_up_to_the_fork(
    client: httpx.AsyncClient, namespace: str, raise_epoch: RaiseEpoch
) -> None:
    answers = [await publish(client, fact(namespace)) for _ in range(3)]
    await raise_epoch(answers[1]["position"])
    found = await read(client, namespace=namespace, after=answers[1]["cursor"])
    assert [one["id"] for one in found] == ids_of(answers[2])
    response = await client.get("/v1/facts", params={"namespace": namespace, "after": answers[2]["cursor"]})
    told = problem(response, 409, "cursor-forked")
    assert told["forked_after"] == answers[1]["position"]
    assert told["epoch"] == epoch_of(await head_cursor(client))
    assert epoch_of((await page(client, namespace=namespace))["cursor"]) == told["epoch"]
