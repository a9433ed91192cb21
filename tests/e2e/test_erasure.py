"""What was erased is gone on every path, and what was not is there on every path."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from factwire.store.encryption.keys import new_master_key
from factwire.store.schema.migrate import migrate
from tests.conftest import StartPostgres, StartService
from tests.e2e.erasure import (
    ERASED,
    SECRET,
    a_secret_fact,
    erase,
    files_that_hold,
    lines,
    opened,
    publish,
)
from tests.support.builders import new_fact, publication
from tests.support.service import ServiceProcess

KEY = new_master_key()
SUBJECT = "customer-1"
WAIT_SECONDS = 10.0

Facts = list[dict[str, Any]]


async def asc(client: httpx.AsyncClient, fact: dict[str, Any]) -> Facts:
    facts: Facts = (await client.get("/v1/facts")).raise_for_status().json()["facts"]
    return facts


async def desc(client: httpx.AsyncClient, fact: dict[str, Any]) -> Facts:
    answer = await client.get("/v1/facts", params={"order": "desc"})
    facts: Facts = answer.raise_for_status().json()["facts"]
    return facts


async def filtered(client: httpx.AsyncClient, fact: dict[str, Any]) -> Facts:
    answer = await client.get("/v1/facts", params={"aggregate_id": fact["aggregate_ids"][0]})
    facts: Facts = answer.raise_for_status().json()["facts"]
    return facts


async def search(client: httpx.AsyncClient, fact: dict[str, Any]) -> Facts:
    answer = await client.post("/v1/facts/search", json={"items": [{"types": [fact["type"]]}]})
    facts: Facts = answer.raise_for_status().json()["facts"]
    return facts


async def export(client: httpx.AsyncClient, fact: dict[str, Any]) -> Facts:
    return lines((await client.get("/v1/facts/export")).raise_for_status().text)


async def by_id(client: httpx.AsyncClient, fact: dict[str, Any]) -> Facts:
    return [(await client.get(f"/v1/facts/{fact['id']}")).raise_for_status().json()]


async def by_position(client: httpx.AsyncClient, fact: dict[str, Any]) -> Facts:
    position = (await by_id(client, fact))[0]["position"]
    return [(await client.get(f"/v1/facts/at/{position}")).raise_for_status().json()]


async def long_poll(client: httpx.AsyncClient, fact: dict[str, Any]) -> Facts:
    answer = await client.get("/v1/facts", params={"type": fact["type"], "wait_seconds": 5})
    facts: Facts = answer.raise_for_status().json()["facts"]
    return facts


async def stream(client: httpx.AsyncClient, fact: dict[str, Any]) -> Facts:
    return await followed(client, {"after": "start"}, 1)


async def typed_stream(client: httpx.AsyncClient, fact: dict[str, Any]) -> Facts:
    return await followed(client, {"after": "start", "event": "type"}, 1)


async def filtered_stream(client: httpx.AsyncClient, fact: dict[str, Any]) -> Facts:
    return await followed(client, {"after": "start", "aggregate_id": fact["aggregate_ids"][0]}, 1)


PATHS = (asc, desc, filtered, search, export, by_id, by_position, long_poll, stream, typed_stream, filtered_stream)


async def followed(client: httpx.AsyncClient, parameters: dict[str, str], caught_up: int) -> Facts:
    """The facts of a stream until it has caught up."""
    facts: Facts = []
    async with asyncio.timeout(WAIT_SECONDS), client.stream("GET", "/v1/stream", params=parameters) as response:
        name = ""
        async for line in response.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
                if name == "caught-up":
                    return facts
            elif line.startswith("data: ") and "payload" in line:
                facts.append(json.loads(line.removeprefix("data: ")))
    raise AssertionError("the stream ended")


@pytest.fixture
async def sealing(start_service: StartService) -> ServiceProcess:
    return await start_service(master_key=KEY)


@pytest.fixture
async def client(sealing: ServiceProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with opened(sealing.url) as opened_client:
        yield opened_client


def one(facts: Facts, id: str) -> dict[str, Any]:
    return next(fact for fact in facts if fact["id"] == id)


async def test_every_path_shows_a_sealed_payload_and_after_its_erasure_none_does(client: httpx.AsyncClient) -> None:
    fact, plain = a_secret_fact(SUBJECT), new_fact(payload={"kept": True})
    other = a_secret_fact("customer-2", payload=[1.10, {"a": "é"}])
    await publish(client, plain, fact, other)
    for path in PATHS:
        before = one(await path(client, fact), fact["id"])
        assert before["payload"] == fact["payload"], path.__name__
        assert before["data_subject"] == SUBJECT
        assert "erased" not in before
    whole = one(await by_id(client, fact), fact["id"])
    await erase(client, SUBJECT)
    for path in PATHS:
        after = await path(client, fact)
        assert one(after, fact["id"]) == whole | ERASED, path.__name__
        assert SECRET not in json.dumps(after)
        for kept in (plain, other):
            for found in [each for each in after if each["id"] == kept["id"]]:
                assert found["payload"] == kept["payload"]


async def test_a_payload_comes_back_byte_for_byte(client: httpx.AsyncClient) -> None:
    payload = '{"b":1.10,"a":1e400,"a":"\\ud800 \\u00e9 é","n":12345678901234567890123456789012345678901}'
    body = '{"facts":[{"namespace":"shop","type":"Paid","data_subject":"c","payload":' + payload + "}]}"
    answer = await client.post("/v1/facts", content=body.encode(), headers={"content-type": "application/json"})
    id = answer.raise_for_status().json()["facts"][0]["id"]
    assert (await client.get(f"/v1/facts/{id}")).text.endswith(f'"payload":{payload}}}')
    assert f'"payload":{payload}}}\n' in (await client.get("/v1/facts/export")).text


async def test_a_live_stream_gets_the_payload_and_then_the_erasure(client: httpx.AsyncClient) -> None:
    fact = a_secret_fact(SUBJECT)
    async with asyncio.timeout(WAIT_SECONDS), client.stream("GET", "/v1/stream") as response:
        events = response.aiter_lines()
        await until(events, "event: caught-up")
        await publish(client, fact)
        live = json.loads((await until(events, 'data: {"position":1,')).removeprefix("data: "))
        assert live["payload"] == fact["payload"]
        await erase(client, SUBJECT)
        told = json.loads((await until(events, 'data: {"position":2,')).removeprefix("data: "))
    assert (told["namespace"], told["type"]) == ("factwire", "DataSubjectErased")
    assert told["payload"]["data_subject"] == SUBJECT


async def next_fact(events: AsyncIterator[str]) -> str:
    while "published_at" not in (line := await until(events, "data: ")):
        pass
    return line


async def until(events: AsyncIterator[str], start: str) -> str:
    async for line in events:
        if line.startswith(start):
            return line
    raise AssertionError(f"no line began with {start}")


async def test_a_retry_is_recognised_while_the_key_lives_and_a_conflict_afterwards(client: httpx.AsyncClient) -> None:
    fact = a_secret_fact(SUBJECT)
    position = await publish(client, fact)
    again = await client.post("/v1/facts", json=publication(fact))
    assert (again.status_code, again.json()["position"]) == (200, position)
    other = await client.post("/v1/facts", json=publication(fact | {"payload": {"name": "another"}}))
    assert other.status_code == 409
    await erase(client, SUBJECT)
    for attempt in (fact, {key: value for key, value in fact.items() if key != "data_subject"}):
        assert (await client.post("/v1/facts", json=publication(attempt))).status_code == 409
    new = await client.post("/v1/facts", json=publication(a_secret_fact(SUBJECT)))
    assert (new.status_code, new.json()["type"]) == (409, "urn:factwire:problem:data-subject-erased")
    assert (await client.get("/v1/position")).json()["head"] == position + 1


async def test_an_import_seals_and_stops_at_an_erased_data_subject(client: httpx.AsyncClient) -> None:
    first, second = a_secret_fact(SUBJECT), a_secret_fact("customer-2")
    headers = {"content-type": "application/x-ndjson"}

    async def imported(*facts: dict[str, Any]) -> dict[str, Any]:
        content = "\n".join(map(json.dumps, facts)).encode()
        answer = await client.post("/v1/facts/import", content=content, headers=headers)
        return lines(answer.text)[-1]

    assert (await imported(first, second))["result"]["published"] == 2
    assert (await imported(first, second))["result"]["replayed"] == 2
    assert one(await export(client, first), first["id"])["payload"] == first["payload"]
    await erase(client, SUBJECT)
    third = a_secret_fact("customer-3")
    problem = (await imported(third, a_secret_fact(SUBJECT), new_fact()))["problem"]
    assert (problem["type"], problem["line"]) == ("urn:factwire:problem:data-subject-erased", 2)
    assert one(await export(client, third), third["id"])["payload"] == third["payload"]


async def test_erasing_twice_says_the_same_and_an_unknown_data_subject_is_not_found(client: httpx.AsyncClient) -> None:
    await publish(client, a_secret_fact(SUBJECT))
    assert await erase(client, SUBJECT) == await erase(client, SUBJECT)
    for unknown in ("nobody", "no%20name", "%00"):
        answer = await client.delete(f"/v1/data-subjects/{unknown}")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:factwire:problem:data-subject-not-found")
    assert (await client.get("/v1/position")).json()["head"] == 2


async def test_another_process_forgets_what_its_ring_holds(start_service: StartService) -> None:
    one_service = await start_service(master_key=KEY)
    other_service = await start_service(master_key=KEY)
    fact = a_secret_fact(SUBJECT)
    async with opened(one_service.url) as here, opened(other_service.url) as there:
        await publish(here, fact)
        # It is live there: it is in the ring of that process.
        async with (
            asyncio.timeout(WAIT_SECONDS),
            there.stream("GET", "/v1/stream", params={"after": "head"}) as response,
        ):
            events = response.aiter_lines()
            await until(events, "event: caught-up")
            second = a_secret_fact(SUBJECT)
            await publish(here, second)
            assert SECRET in await next_fact(events)
            await erase(here, SUBJECT)
            assert "DataSubjectErased" in await next_fact(events)
        for client in (here, there):
            assert SECRET not in json.dumps(await stream(client, fact))


async def test_without_a_master_key_facts_about_data_subjects_are_refused_and_others_are_not(
    start_service: StartService,
) -> None:
    service = await start_service()
    async with opened(service.url) as client:
        answer = await client.post("/v1/facts", json=publication(a_secret_fact(SUBJECT)))
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:factwire:problem:encryption-not-configured")
        assert await publish(client, new_fact()) == 1


async def test_a_process_without_the_key_shows_nothing_wrong(start_service: StartService) -> None:
    sealing_service = await start_service(master_key=KEY)
    fact, plain = a_secret_fact(SUBJECT), new_fact(type="Plain")
    async with opened(sealing_service.url) as client:
        await publish(client, plain, fact)
        keyless = await start_service(master_key=new_master_key())
        async with opened(keyless.url) as other:
            assert "master key is not configured" in keyless.log
            for url in ("/v1/facts", f"/v1/facts/{fact['id']}", "/v1/facts/export"):
                answer = await other.get(url)
                assert (answer.status_code, answer.json()["type"]) == (503, "urn:factwire:problem:key-unavailable")
            assert (await other.get("/v1/facts", params={"type": "Plain"})).json()["facts"][0]["id"] == plain["id"]
            async with asyncio.timeout(WAIT_SECONDS), other.stream("GET", "/v1/stream") as response:
                events = response.aiter_lines()
                await until(events, "event: problem")
                assert "key-unavailable" in await until(events, "data: ")
            # Live, too: what cannot be opened does not stop the others.
            async with (
                asyncio.timeout(WAIT_SECONDS),
                other.stream("GET", "/v1/stream", params={"type": "Plain", "after": "head"}) as response,
            ):
                events = response.aiter_lines()
                await until(events, "event: caught-up")
                await publish(
                    client, a_secret_fact(SUBJECT), new_fact(type="Plain", id="0193595a-7c5f-7e1a-8f31-2f6a3c7d9b10")
                )
                assert "0193595a-7c5f-7e1a-8f31-2f6a3c7d9b10" in await next_fact(events)
            await erase(client, SUBJECT)
            assert one((await other.get("/v1/facts")).json()["facts"], fact["id"])["erased"] is True


async def test_the_payload_reaches_neither_the_database_nor_the_logs(
    start_postgres: StartPostgres, start_service: StartService
) -> None:
    server = start_postgres()
    await asyncio.to_thread(migrate, server.url)
    service = await start_service(database_url=server.url, master_key=KEY, log_requests="true")
    marker = "Marker-in-clear-9177"
    async with opened(service.url) as client:
        fact = a_secret_fact(SUBJECT)
        await publish(client, fact, new_fact(payload=marker))
        await client.post("/v1/facts", json=publication(fact | {"payload": SECRET}))
        assert one(await asc(client, fact), fact["id"])["payload"] == fact["payload"]
    server.stop()
    assert files_that_hold(server.directory, marker)
    assert not files_that_hold(server.directory, SECRET)
    assert SECRET not in service.log
    assert KEY not in service.log


async def test_publishers_and_an_erasure_at_the_same_time_leave_nothing_readable(client: httpx.AsyncClient) -> None:
    """Whoever was acknowledged stands before the erasure, and whoever came later is refused."""
    told: list[tuple[int, int]] = []
    first = asyncio.Event()

    async def keep_publishing() -> None:
        while True:
            answer = await client.post("/v1/facts", json=publication(a_secret_fact(SUBJECT), new_fact()))
            if answer.status_code == 409:
                return
            told.append((answer.status_code, answer.json()["position"]))
            if len(told) > 20:
                first.set()

    async with asyncio.timeout(WAIT_SECONDS), asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(keep_publishing())
        await first.wait()
        await erase(client, SUBJECT)
    facts = lines((await client.get("/v1/facts/export")).text)
    [erasure] = [fact for fact in facts if fact["type"] == "DataSubjectErased"]
    about = [fact for fact in facts if fact.get("data_subject") == SUBJECT]
    assert len(about) == len(told) > 20
    assert {status for status, _ in told} == {201}
    assert all(fact["erased"] and fact["position"] < erasure["position"] for fact in about)
    assert SECRET not in json.dumps(facts)
