"""Subscriptions: who gets a fact, in which order, and what becomes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.conformance.subscribing import Subscribed, ids_in, leases_of
from tests.conformance.wire import answered, eventually, fact, head_cursor, parameters, pointers, problem, publish, read


@pytest.fixture
def subscribed(client: httpx.AsyncClient, namespace: str) -> Subscribed:
    return Subscribed(client, namespace)


@pytest.mark.case("subscription-each-fact-to-one-worker")
async def test_each_fact_goes_to_one_worker_once(subscribed: Subscribed) -> None:
    await subscribed.put()
    for number in range(6):
        await subscribed.publish(f"order-{number}")
    first, second = await asyncio.gather(subscribed.claim(3, "a"), subscribed.claim(3, "b"))
    assert sorted(ids_in(first) + ids_in(second)) == [[f"order-{number}"] for number in range(6)]
    assert await subscribed.ack(first) == 3
    assert await subscribed.ack(first) == 3  # a repetition
    assert await subscribed.ack(second) == 3
    assert await subscribed.claim() == []
    status = await subscribed.status()
    assert (status["in_flight"], status["lag"]["caught_up"], status["lag"]["seconds"]) == (0, True, 0)


@pytest.mark.case("subscription-claimed-fact-is-the-fact")
async def test_a_claimed_fact_is_that_of_a_page(client: httpx.AsyncClient, subscribed: Subscribed) -> None:
    await subscribed.put()
    await subscribed.publish("order-1")
    [claimed] = await subscribed.claim()
    assert claimed["fact"] == (await read(client, namespace=subscribed.namespace))[0]
    assert claimed["attempt"] == 1


@pytest.mark.case("subscription-order-of-several-ids")
async def test_a_parked_fact_holds_back_those_of_its_aggregates_and_what_they_hold_back(subscribed: Subscribed) -> None:
    await subscribed.put()
    await subscribed.publish("a")
    await subscribed.nack(await subscribed.claim(), park=True, reason="it cannot be done")
    await subscribed.publish("a", "b")
    await subscribed.publish("b")
    await subscribed.publish("c")
    passed = await subscribed.claim()
    assert ids_in(passed) == [["c"]]
    await subscribed.ack(passed)
    [parked] = await subscribed.parked()
    assert (parked["reason"], parked["attempts"], parked["held_behind"], parked["worker"]) == (
        "it cannot be done",
        1,
        1,
        "w",
    )
    assert (await subscribed.status())["held"] == 2
    answered(await subscribed.post("parked/discard", aggregate_id="a"))
    for expected in (["a", "b"], ["b"]):
        claimed = await subscribed.claim()
        assert ids_in(claimed) == [expected]
        await subscribed.ack(claimed)
    assert await subscribed.claim() == []


@pytest.mark.case("subscription-one-aggregate-one-worker")
async def test_facts_of_an_aggregate_are_in_the_hands_of_one_worker(subscribed: Subscribed) -> None:
    await subscribed.put()
    for _ in range(4):
        await subscribed.publish("a")
    first = await subscribed.claim(2)
    assert [each["fact"]["aggregate_ids"] for each in first] == [["a"], ["a"]]
    assert await subscribed.claim() == []
    await subscribed.refused("ack", 409, "earlier-open", leases=leases_of(first[1:]))
    assert await subscribed.ack(first) == 2
    assert len(await subscribed.claim()) == 1


@pytest.mark.case("subscription-ordering-all")
async def test_with_ordering_all_nothing_passes_an_open_fact(subscribed: Subscribed) -> None:
    await subscribed.put(ordering="all")
    for id in "abc":
        await subscribed.publish(id)
    first = await subscribed.claim(1)
    assert ids_in(first) == [["a"]]
    assert await subscribed.claim() == []
    await subscribed.nack(first, retry_after_seconds=0)
    again = await subscribed.claim(10)
    assert ids_in(again) == [["a"]]
    await subscribed.ack(again)
    assert ids_in(await subscribed.claim(10)) == [["b"], ["c"]]


@pytest.mark.case("subscription-ordering-none")
async def test_without_ordering_facts_of_an_aggregate_go_to_several_workers(subscribed: Subscribed) -> None:
    await subscribed.put(ordering="none")
    for _ in range(2):
        await subscribed.publish("a")
    first, second = await subscribed.claim(1), await subscribed.claim(1)
    assert ids_in(first) == ids_in(second) == [["a"]]
    assert await subscribed.ack(second) == 1
    assert await subscribed.ack(first) == 1


@pytest.mark.case("subscription-returned-facts")
async def test_a_returned_fact_comes_again_and_takes_later_ones_of_its_aggregate_with_it(
    subscribed: Subscribed,
) -> None:
    await subscribed.put()
    for ids in (["a"], ["a"], ["b"]):
        await subscribed.publish(*ids)
    claimed = await subscribed.claim()
    returned = await subscribed.nack(claimed[:1], retry_after_seconds=0, reason="later")
    assert returned == {"returned": 1, "withdrawn": leases_of(claimed[1:2])}
    await subscribed.refused("ack", 409, "lease-lost", leases=leases_of(claimed[1:2]))
    again = await subscribed.claim()
    assert [(each["fact"]["aggregate_ids"], each["attempt"]) for each in again] == [(["a"], 2)]
    await subscribed.ack(again)
    # What was withdrawn was not attempted.
    assert [each["attempt"] for each in await subscribed.claim()] == [1]


@pytest.mark.case("subscription-released-facts")
async def test_a_released_fact_comes_again_at_once_and_was_no_attempt(subscribed: Subscribed) -> None:
    await subscribed.put()
    await subscribed.publish("a")
    for _ in range(7):
        claimed = await subscribed.claim()
        assert [each["attempt"] for each in claimed] == [1]
        answered(await subscribed.post("release", leases=leases_of(claimed)))


@pytest.mark.case("subscription-attempts")
@pytest.mark.parametrize("on_failure", ["park", "pause"])
async def test_a_fact_that_has_used_up_its_attempts_is_parked_or_pauses(
    subscribed: Subscribed, on_failure: str
) -> None:
    await subscribed.put(max_attempts=2, on_failure=on_failure)
    await subscribed.publish("a")
    for _ in range(2):
        await subscribed.nack(await subscribed.claim(), retry_after_seconds=0, reason="no")
    status = await subscribed.status()
    if on_failure == "park":
        assert (status["state"], status["parked"]) == ("active", 1)
        answered(await subscribed.post("parked/replay"))
    else:
        assert (status["state"], status["parked"]) == ("failed", 0)
        assert "no" in status["reason"]
        assert await subscribed.claim() == []
        answered(await subscribed.client.post(f"{subscribed.path}/resume"))
    assert len(await subscribed.claim()) == 1


@pytest.mark.case("subscription-delay")
async def test_a_delayed_fact_comes_when_its_time_has_come(subscribed: Subscribed) -> None:
    await subscribed.put()
    await subscribed.publish("a")
    await subscribed.nack(await subscribed.claim(), retry_after_seconds=0.5)
    assert (await subscribed.status())["delayed"] == 1
    assert await subscribed.claim() == []
    assert len(await subscribed.claim(wait_seconds=10)) == 1


@pytest.mark.case("subscription-lease-runs-out")
async def test_what_was_in_a_lease_that_ran_out_goes_to_another_worker(subscribed: Subscribed) -> None:
    await subscribed.put(ack_timeout_seconds=1)
    await subscribed.publish("a")
    first = await subscribed.claim(worker="slow")
    second = await subscribed.claim(worker="quick", wait_seconds=10)
    assert [each["attempt"] for each in second] == [2]
    told = await subscribed.refused("ack", 409, "lease-lost", leases=leases_of(first))
    assert (told["leases"], told["acknowledged"]) == (leases_of(first), 0)
    assert await subscribed.ack(second) == 1


@pytest.mark.case("subscription-late-acknowledgement")
async def test_a_lease_that_ran_out_counts_until_its_facts_are_taken_back(subscribed: Subscribed) -> None:
    await subscribed.put(ack_timeout_seconds=1)
    await subscribed.publish("a")
    claimed = await subscribed.claim()
    await asyncio.sleep(1.5)
    assert await subscribed.ack(claimed) == 1
    assert await subscribed.claim() == []


@pytest.mark.case("subscription-unknown-lease")
async def test_a_lease_that_never_was_acknowledges_nothing(subscribed: Subscribed) -> None:
    await subscribed.put()
    await subscribed.publish("a")
    claimed = await subscribed.claim()
    number, _, position = claimed[0]["lease"].split(".")
    unknown = f"{number}.123abc.{position}"
    assert (await subscribed.refused("ack", 409, "lease-lost", leases=[unknown]))["leases"] == [unknown]
    assert await subscribed.ack(claimed) == 1


@pytest.mark.case("subscription-passes-held-facts")
async def test_a_claim_passes_many_held_facts_at_once(subscribed: Subscribed) -> None:
    await subscribed.put()
    await subscribed.publish("a")
    await subscribed.claim()
    for id in ["a"] * 60 + ["b"]:
        await subscribed.publish(id)
    assert ids_in(await subscribed.claim(limit=2, wait_seconds=10)) == [["b"]]


@pytest.mark.case("subscription-no-body")
async def test_what_takes_all_or_says_nothing_needs_no_body(subscribed: Subscribed) -> None:
    await subscribed.put(max_attempts=1)
    await subscribed.publish("a")
    await subscribed.nack(await subscribed.claim())
    assert answered(await subscribed.client.post(f"{subscribed.path}/parked/replay")) == {"facts": 1}
    assert answered(await subscribed.client.post(f"{subscribed.path}/pause"))["state"] == "paused"
    refused = await subscribed.client.post(f"{subscribed.path}/parked/discard")
    problem(refused, 415, "unsupported-media-type")  # all that is parked, only by saying so


@pytest.mark.case("subscription-concurrent-changes")
async def test_no_change_is_lost_to_another_one_at_once(subscribed: Subscribed) -> None:
    await subscribed.put()
    for number in range(1, 21):
        changes = [{"max_attempts": number}, {"in_flight_max": number}, {"ack_timeout_seconds": number}]
        answers = await asyncio.gather(*[subscribed.client.patch(subscribed.path, json=each) for each in changes])
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        status = await subscribed.status()
        assert [status[name] for each in changes for name in each] == [number] * 3


@pytest.mark.case("subscription-extend")
async def test_an_extended_lease_does_not_run_out(subscribed: Subscribed) -> None:
    await subscribed.put(ack_timeout_seconds=1)
    await subscribed.publish("a")
    claimed = await subscribed.claim()
    answered(await subscribed.post("extend", leases=leases_of(claimed), seconds=60))
    assert await subscribed.claim(wait_seconds=1.5) == []
    assert await subscribed.ack(claimed) == 1


@pytest.mark.case("subscription-one-poison-fact")
async def test_a_fact_that_kills_its_workers_takes_no_others_with_it(subscribed: Subscribed) -> None:
    """The worker dies when it comes to one fact: whatever it had then runs out with it."""
    await subscribed.put(ack_timeout_seconds=1, max_attempts=4)
    for number in range(20):
        await subscribed.publish(f"order-{number}")
    done: list[str] = []
    async with asyncio.timeout(60):
        while (await subscribed.status())["parked"] == 0 or len(done) < 19:
            claimed = await subscribed.claim(wait_seconds=2)
            if ["order-3"] in ids_in(claimed):
                continue
            done += [ids[0] for ids in ids_in(claimed)]
            if claimed:
                await subscribed.ack(claimed)
    assert sorted(done) == sorted(f"order-{number}" for number in range(20) if number != 3)
    assert [each["fact"]["aggregate_ids"] for each in await subscribed.parked()] == [["order-3"]]


@pytest.mark.case("subscription-long-poll")
async def test_a_waiting_claim_gets_the_next_match(subscribed: Subscribed) -> None:
    await subscribed.put()
    claiming = asyncio.create_task(subscribed.claim(wait_seconds=15))
    await asyncio.sleep(0.2)
    await publish(subscribed.client, fact(subscribed.namespace + "x"))
    await subscribed.publish("a")
    assert ids_in(await claiming) == [["a"]]


@pytest.mark.case("subscription-client-that-leaves")
async def test_a_client_that_leaves_its_waiting_claim_takes_nothing_with_it(
    base_url: str, subscribed: Subscribed
) -> None:
    await subscribed.put()
    async with httpx.AsyncClient(base_url=base_url) as leaving:
        waiting = asyncio.create_task(
            leaving.post(f"{subscribed.path}/claim", json={"worker": "gone", "wait_seconds": 30})
        )
        await asyncio.sleep(0.3)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(0.2)
    await subscribed.publish("a")
    assert [each["attempt"] for each in await subscribed.claim(wait_seconds=5)] == [1]


@pytest.mark.case("subscription-put-again")
async def test_a_subscription_that_is_put_again_stays_where_it_is(subscribed: Subscribed) -> None:
    await subscribed.put()
    await subscribed.publish("a")
    await subscribed.ack(await subscribed.claim())
    again = await subscribed.put(max_attempts=9)
    assert (again["max_attempts"], again["lag"]["caught_up"]) == (9, True)
    told = problem(
        await subscribed.client.put(subscribed.path, json={"query": {}, "ordering": "none"}),
        409,
        "subscription-differs",
    )
    assert told["ordering"] == "aggregate"


@pytest.mark.case("subscription-change")
async def test_a_change_leaves_out_what_it_does_not_name(subscribed: Subscribed) -> None:
    before = await subscribed.put(in_flight_max=7, backoff={"first_seconds": 3})
    after = answered(await subscribed.client.patch(subscribed.path, json={"max_attempts": 2}))
    assert after["backoff"] == {"first_seconds": 3, "factor": 2, "most_seconds": 300}
    assert after == before | {"max_attempts": 2, "head": after["head"], "lag": after["lag"]}
    await subscribed.publish("a", type="Other")
    changed = {"items": [{"namespaces": [subscribed.namespace], "types": ["Done"]}]}
    answered(await subscribed.client.patch(subscribed.path, json={"query": changed}))
    await subscribed.publish("b")
    assert ids_in(await subscribed.claim()) == [["b"]]


@pytest.mark.case("subscription-start")
@pytest.mark.parametrize(("start", "seen"), [("start", ["a", "b"]), ("head", []), ("cursor", ["b"]), ("id", ["b"])])
async def test_a_subscription_begins_where_it_was_told_to(
    client: httpx.AsyncClient, subscribed: Subscribed, start: str, seen: list[str]
) -> None:
    first = await subscribed.publish("a")
    await subscribed.publish("b")
    places = {"cursor": first["cursor"], "id": first["facts"][0]["id"]}
    await subscribed.put(start=places.get(start, start))
    assert [ids[0] for ids in ids_in(await subscribed.claim())] == seen


@pytest.mark.case("subscription-reset")
async def test_a_reset_hands_out_again_and_ends_leases(subscribed: Subscribed) -> None:
    await subscribed.put()
    first = await subscribed.publish("a")
    second = await subscribed.publish("b")
    claimed = await subscribed.claim()
    await subscribed.ack(claimed[:1])
    status = answered(await subscribed.post("reset", to=first["cursor"]))
    assert (status["generation"], status["in_flight"], status["position"]) == (2, 0, first["position"])
    await subscribed.refused("ack", 409, "lease-lost", leases=leases_of(claimed[1:]))
    assert ids_in(await subscribed.claim()) == [["b"]]
    answered(await subscribed.post("reset", to=second["published_at"]))
    assert ids_in(await subscribed.claim()) == [["b"]]
    ahead = f"{second['cursor'].partition(':')[0]}:{second['position'] + 1_000_000}"
    await subscribed.refused("reset", 409, "cursor-ahead", to=ahead)


@pytest.mark.case("subscription-pause")
async def test_a_paused_subscription_hands_out_nothing_and_takes_acknowledgements(subscribed: Subscribed) -> None:
    await subscribed.put()
    await subscribed.publish("a")
    claimed = await subscribed.claim()
    await subscribed.publish("b")
    for _ in range(2):
        paused = answered(await subscribed.post("pause", reason="closed"))
        assert (paused["state"], paused["reason"]) == ("paused", "closed")
    answer = answered(await subscribed.post("claim", worker="w"))
    assert (answer["facts"], answer["state"]) == ([], "paused")
    assert await subscribed.ack(claimed) == 1
    waiting = asyncio.create_task(subscribed.claim(wait_seconds=15))
    await asyncio.sleep(0.2)
    for _ in range(2):
        assert answered(await subscribed.client.post(f"{subscribed.path}/resume"))["reason"] is None
    assert ids_in(await waiting) == [["b"]]


@pytest.mark.case("subscription-delete")
async def test_a_deleted_subscription_is_gone_with_its_leases(subscribed: Subscribed) -> None:
    await subscribed.put()
    await subscribed.publish("a")
    claimed = await subscribed.claim()
    waiting = asyncio.create_task(subscribed.post("claim", worker="w", wait_seconds=15))
    await asyncio.sleep(0.2)
    answered(await subscribed.client.delete(subscribed.path))
    problem(await waiting, 404, "subscription-not-found")
    problem(await subscribed.client.get(subscribed.path), 404, "subscription-not-found")
    await subscribed.put()
    await subscribed.refused("ack", 409, "lease-lost", leases=leases_of(claimed))
    assert len(await subscribed.claim()) == 1


@pytest.mark.case("subscription-list")
async def test_subscriptions_are_listed_by_name(client: httpx.AsyncClient, namespace: str) -> None:
    names = [Subscribed(client, namespace) for _ in range(3)]
    for each in names:
        await each.put()
    listed: list[str] = []
    after = ""
    while True:
        page = answered(await client.get("/v1/subscriptions", params={"after": after, "limit": 2}))
        listed += [each["name"] for each in page["subscriptions"]]
        after = page["next"]
        if after is None:
            break
    assert listed == sorted(listed)
    assert {each.name for each in names} <= set(listed)


@pytest.mark.case("subscription-limits")
async def test_limits_keep_facts_back_and_say_so(subscribed: Subscribed) -> None:
    await subscribed.put(in_flight_max=2)
    for id in "abc":
        await subscribed.publish(id)
    claimed = await subscribed.claim()
    assert len(claimed) == 2
    assert await subscribed.claim() == []
    assert (await subscribed.status())["limited"]
    waiting = asyncio.create_task(subscribed.claim(wait_seconds=10))
    await asyncio.sleep(0.2)
    await subscribed.ack(claimed)
    assert ids_in(await waiting) == [["c"]]


@pytest.mark.case("subscription-exactly-once")
async def test_a_publish_and_its_acknowledgement_are_one(client: httpx.AsyncClient, subscribed: Subscribed) -> None:
    await subscribed.put(ack_timeout_seconds=30)
    for _ in range(2):
        await subscribed.publish("a")
    claimed = await subscribed.claim()
    acknowledge = {"subscription": subscribed.name, "leases": leases_of(claimed[:1])}
    new = fact(subscribed.namespace + "-out", id="0193595a-7c5f-4e1a-8f31-" + subscribed.name[-12:])
    before = await head_cursor(client)
    failing = {"fail_if_match": [{"namespaces": [subscribed.namespace]}]}
    body: dict[str, Any] = {"facts": [new], "acknowledge": acknowledge}
    problem(await client.post("/v1/facts", json=body | {"condition": failing}), 409, "condition-failed")
    late = body | {"acknowledge": acknowledge | {"leases": leases_of(claimed[1:])}}
    problem(await client.post("/v1/facts", json=late), 409, "earlier-open")
    assert await head_cursor(client) == before
    done = answered(await client.post("/v1/facts", json=body), 201)
    assert done["acknowledged"] == 1
    repeated = answered(await client.post("/v1/facts", json=body), 200)
    assert (repeated["acknowledged"], repeated["facts"]) == (1, done["facts"])
    told = problem(await client.post("/v1/facts", json=body | {"facts": [fact("x")]}), 409, "lease-lost")
    assert told["leases"] == leases_of(claimed[:1])
    assert await subscribed.ack(claimed) == 2
    assert (await subscribed.status())["in_flight"] == 0


@pytest.mark.case("subscription-exactly-once-lost")
async def test_a_repeated_publish_whose_lease_is_lost_says_so(
    client: httpx.AsyncClient, subscribed: Subscribed
) -> None:
    """The facts were published without the acknowledgement, and meanwhile others have the claimed fact."""
    await subscribed.put()
    await subscribed.publish("a")
    await subscribed.publish("b")
    [first, second] = await subscribed.claim()
    new = fact(subscribed.namespace + "-out", id="0193595a-7c5f-4e1a-8f32-" + subscribed.name[-12:])
    answered(await client.post("/v1/facts", json={"facts": [new]}), 201)
    answered(await subscribed.post("release", leases=[second["lease"]]))
    await subscribed.claim(worker="other")
    acknowledge = {"subscription": subscribed.name, "leases": leases_of([first, second])}
    response = await client.post("/v1/facts", json={"facts": [new], "acknowledge": acknowledge})
    told = problem(response, 409, "lease-lost")
    assert (told["leases"], told["acknowledged"]) == ([second["lease"]], 1)


@pytest.mark.case("subscription-publish-frees-what-was-held")
async def test_what_a_publish_acknowledges_frees_the_facts_behind_it(
    client: httpx.AsyncClient, subscribed: Subscribed
) -> None:
    await subscribed.put()
    await subscribed.publish("a")
    claimed = await subscribed.claim()
    await subscribed.publish("a")
    waiting = asyncio.create_task(subscribed.claim(wait_seconds=15))
    await asyncio.sleep(0.2)
    acknowledge = {"subscription": subscribed.name, "leases": leases_of(claimed)}
    out = fact(subscribed.namespace + "-out")
    answered(await client.post("/v1/facts", json={"facts": [out], "acknowledge": acknowledge}), 201)
    assert ids_in(await waiting) == [["a"]]


@pytest.mark.case("subscription-foreign-leases")
async def test_the_lease_of_another_subscription_is_lost(subscribed: Subscribed, client: httpx.AsyncClient) -> None:
    other = Subscribed(client, subscribed.namespace)
    await subscribed.put()
    await other.put()
    await subscribed.publish("a")
    theirs = await other.claim()
    for operation in ("ack", "nack", "release", "extend"):
        told = await subscribed.refused(operation, 409, "lease-lost", leases=leases_of(theirs))
        assert told["leases"] == leases_of(theirs)
    assert await other.ack(theirs) == 1


@pytest.mark.case("subscription-bad-input")
@pytest.mark.parametrize(
    ("operation", "body", "pointer"),
    [
        ("claim", {"worker": ""}, "/worker"),
        ("claim", {"worker": "w" * 201}, "/worker"),
        ("claim", {"worker": "a\nb"}, "/worker"),
        ("claim", {"worker": "w", "limit": 0}, "/limit"),
        ("claim", {"worker": "w", "limit": 1001}, "/limit"),
        ("claim", {"worker": "w", "wait_seconds": -1}, "/wait_seconds"),
        ("claim", {"worker": "w", "more": 1}, "/more"),
        ("ack", {"leases": []}, "/leases"),
        ("ack", {"leases": ["1.2.3", "no"]}, "/leases/1"),
        ("ack", {"leases": ["1.2.99999999999999999999"]}, "/leases/0"),
        ("nack", {"leases": ["1.2.3"], "park": True, "retry_after_seconds": 1}, "/retry_after_seconds"),
        ("nack", {"leases": ["1.2.3"], "retry_after_seconds": 1e9}, "/retry_after_seconds"),
        ("nack", {"leases": ["1.2.3"], "reason": "r" * 1001}, "/reason"),
        ("extend", {"leases": ["1.2.3"], "seconds": 0}, "/seconds"),
        ("reset", {"to": "tomorrow"}, "/to"),
        ("parked/replay", {"positions": [0]}, "/positions"),
        ("parked/discard", {"positions": [1], "aggregate_id": "a"}, "/aggregate_id"),
    ],
)
async def test_bad_input_is_named(subscribed: Subscribed, operation: str, body: dict[str, Any], pointer: str) -> None:
    await subscribed.put()
    told = problem(await subscribed.post(operation, **body), 422, "invalid-request")
    assert pointers(told) == [pointer]


@pytest.mark.case("subscription-too-many-leases")
async def test_more_leases_than_a_request_may_have_are_refused(subscribed: Subscribed) -> None:
    await subscribed.put()
    leases = [f"1.2.{number}" for number in range(1, 1002)]
    told = await subscribed.refused("ack", 422, "limit-exceeded", leases=leases)
    assert (told["limit"], told["maximum"]) == ("leases_max", 1000)


@pytest.mark.case("subscription-bad-definition")
@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"query": {"items": [{"kinds": ["x"]}]}}, "/query/items/0/kinds"),
        ({"query": {"items": [{"aggregate_ids": ["a\u0000"]}]}}, "/query/items/0/aggregate_ids"),
        ({"start": "yesterday"}, "/start"),
        ({"ordering": "some"}, "/ordering"),
        ({"ack_timeout_seconds": 0.5}, "/ack_timeout_seconds"),
        ({"max_attempts": 0}, "/max_attempts"),
        ({"in_flight_max": 100_001}, "/in_flight_max"),
        ({"on_failure": "cry"}, "/on_failure"),
        ({"backoff": {"factor": 0.5}}, "/backoff/factor"),
    ],
)
async def test_a_bad_definition_is_named(subscribed: Subscribed, members: dict[str, Any], pointer: str) -> None:
    body = {"query": {}} | members
    told = problem(await subscribed.client.put(subscribed.path, json=body), 422, "invalid-request")
    assert pointers(told) == [pointer]


@pytest.mark.case("subscription-odd-names")
@pytest.mark.parametrize("name", ["a b", "-a", "a" * 201, "é", "a%00b"])
async def test_an_odd_name_is_refused(client: httpx.AsyncClient, name: str) -> None:
    response = await client.put(f"/v1/subscriptions/{name}", json={"query": {}})
    assert parameters(problem(response, 400, "malformed-parameter")) == ["name"]


@pytest.mark.case("subscription-unknown")
async def test_an_unknown_subscription_is_not_found(subscribed: Subscribed) -> None:
    await subscribed.refused("claim", 404, "subscription-not-found", worker="w")
    await subscribed.refused("ack", 404, "subscription-not-found", leases=["1.2.3"])
    body = {"facts": [fact("x")], "acknowledge": {"subscription": subscribed.name, "leases": ["1.2.3"]}}
    problem(await subscribed.client.post("/v1/facts", json=body), 404, "subscription-not-found")


@pytest.mark.case("subscription-workers")
async def test_workers_are_shown_with_what_they_have(subscribed: Subscribed) -> None:
    await subscribed.put()
    await subscribed.publish("a")
    await subscribed.claim(worker="ann")
    [worker] = (await subscribed.status())["workers"]
    assert (worker["worker"], worker["in_flight"]) == ("ann", 1)

    async def seen() -> Any:
        return (await subscribed.status())["workers"][0]["seen_at"]

    assert await eventually(seen, lambda at: at is not None)
