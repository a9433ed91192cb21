"""Subscriptions of several processes, through stops, restores and erasures."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from factwire.store.encryption.keys import new_master_key
from factwire.subscriptions.desk import CLAIMS_MAX
from tests.conformance.subscribing import Subscribed, ids_in, leases_of
from tests.conformance.wire import answered, problem
from tests.conftest import StartService
from tests.e2e.test_restoring import backup_of
from tests.support.postgres import Databases
from tests.support.service import ServiceProcess

SOON_SECONDS = 2.0


@pytest.fixture
async def opened() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def subscribed_at(opened: AsyncExitStack, service: ServiceProcess, name: str = "billing") -> Subscribed:
    client = await opened.enter_async_context(httpx.AsyncClient(base_url=service.url, timeout=30))
    subscribed = Subscribed(client, "shop")
    subscribed.name = name
    return subscribed


async def both(start_service: StartService, opened: AsyncExitStack) -> tuple[Subscribed, Subscribed]:
    """One subscription at two processes."""
    first, second = [await subscribed_at(opened, await start_service()) for _ in range(2)]
    await first.put()
    return first, second


async def soon(waiting: "asyncio.Task[Any]") -> Any:
    began_at = time.monotonic()
    result = await waiting
    assert time.monotonic() < began_at + SOON_SECONDS
    return result


@pytest.mark.parametrize("ordering", ["aggregate", "all"])
async def test_a_worker_gets_what_another_process_has_freed(
    start_service: StartService, opened: AsyncExitStack, ordering: str
) -> None:
    first, second = [await subscribed_at(opened, await start_service()) for _ in range(2)]
    await first.put(ordering=ordering)
    for _ in range(2):
        await first.publish("a")
    claimed = await first.claim(1)
    waiting = asyncio.create_task(second.claim(wait_seconds=20))
    await asyncio.sleep(0.5)
    await first.ack(claimed)
    assert ids_in(await soon(waiting)) == [["a"]]


@pytest.mark.parametrize("change", ["reset", "resume", "delete", "query"])
async def test_a_waiting_worker_notices_what_another_process_changes(
    start_service: StartService, opened: AsyncExitStack, change: str
) -> None:
    first, second = await both(start_service, opened)
    await first.publish("a")
    await first.ack(await first.claim(wait_seconds=5))
    if change == "resume":
        await first.post("pause")
        await first.publish("a")
    if change == "query":
        await first.put(query={"items": [{"namespaces": ["none"]}]})
        await first.publish("a")
    waiting = asyncio.create_task(second.post("claim", worker="w", wait_seconds=20))
    await asyncio.sleep(1.5)
    assert not waiting.done()
    match change:
        case "reset":
            answered(await first.post("reset", to="start"))
        case "resume":
            answered(await first.client.post(f"{first.path}/resume"))
        case "query":
            await first.put()
            await first.publish("a")
        case "delete":
            answered(await first.client.delete(first.path))
    response = await soon(waiting)
    if change == "delete":
        problem(response, 404, "subscription-not-found")
    else:
        assert ids_in(answered(response)["facts"])[-1] == ["a"]


async def test_all_that_wait_learn_that_another_process_has_deleted_the_subscription(
    start_service: StartService, opened: AsyncExitStack
) -> None:
    """More than go into one call."""
    first, second = await both(start_service, opened)
    limits = httpx.Limits(max_connections=CLAIMS_MAX + 20)
    client = httpx.AsyncClient(base_url=second.client.base_url, limits=limits, timeout=40)
    second.client = await opened.enter_async_context(client)
    claims = [second.post("claim", worker="w", wait_seconds=20) for _ in range(CLAIMS_MAX + 20)]
    waiting = asyncio.gather(*claims)
    await asyncio.sleep(2)
    answered(await first.client.delete(first.path))
    assert {response.status_code for response in await waiting} == {404}


async def test_a_service_that_stops_answers_its_waiting_claims_and_leaves_nothing_leased(
    start_service: StartService, opened: AsyncExitStack
) -> None:
    service = await start_service()
    subscribed = await subscribed_at(opened, service)
    await subscribed.put()
    waiting = asyncio.create_task(subscribed.post("claim", worker="w", wait_seconds=40))
    await asyncio.sleep(0.3)
    service.process.send_signal(signal.SIGTERM)
    answer = answered(await soon(waiting))
    assert (answer["facts"], answer["state"]) == ([], "active")


async def test_what_a_killed_process_had_in_hand_goes_to_others(
    start_service: StartService, opened: AsyncExitStack
) -> None:
    killed = await start_service()
    first, second = await subscribed_at(opened, killed), await subscribed_at(opened, await start_service())
    await first.put(ack_timeout_seconds=1)
    await first.publish("a")
    claimed = await first.claim(wait_seconds=5)
    killed.process.kill()
    again = await second.claim(wait_seconds=10)
    assert [each["attempt"] for each in again] == [2]
    await second.refused("ack", 409, "lease-lost", leases=leases_of(claimed))
    assert await second.ack(again) == 1


async def test_after_a_restore_old_leases_are_lost_and_never_acknowledge_new_facts(
    databases: Databases, start_service: StartService, opened: AsyncExitStack, fresh_database_url: str
) -> None:
    service = await start_service()
    subscribed = await subscribed_at(opened, service)
    await subscribed.put()
    await subscribed.publish("a")
    await service.close()
    async with backup_of(databases, fresh_database_url) as backup_url:
        service = await start_service()
        subscribed = await subscribed_at(opened, service)
        await subscribed.publish("b")
        old = await subscribed.claim(wait_seconds=5)
        assert ids_in(old) == [["a"], ["b"]]
        await service.close()
        restored = await subscribed_at(opened, await start_service(database_url=backup_url))
        await restored.refused("ack", 409, "lease-lost", leases=leases_of(old))
        await restored.publish("c")  # at the position that b had
        new = await restored.claim(wait_seconds=5)
        assert ids_in(new) == [["a"], ["c"]]
        await restored.refused("ack", 409, "lease-lost", leases=leases_of(old))
        body: dict[str, Any] = {"facts": [{"namespace": "x", "type": "Done", "payload": 1}]}
        body |= {"acknowledge": {"subscription": restored.name, "leases": leases_of(old)}}
        problem(await restored.client.post("/v1/facts", json=body), 409, "lease-lost")
        assert (await restored.status())["in_flight"] == 2
        assert await restored.ack(new) == 2


async def test_an_erased_payload_is_not_handed_out_though_it_was_read_before(
    start_service: StartService, opened: AsyncExitStack
) -> None:
    service = await start_service(master_key=new_master_key(), auth="none")
    subscribed = await subscribed_at(opened, service)
    await subscribed.put()
    facts = [
        {"namespace": "shop", "type": "Done", "aggregate_ids": [name], "payload": {"of": name}, "data_subject": name}
        for name in ("ann", "bob")
    ]
    answered(await subscribed.client.post("/v1/facts", json={"facts": facts}), 201)
    [first] = await subscribed.claim(1, wait_seconds=5)
    assert first["fact"]["payload"] == {"of": "ann"}
    redaction = await subscribed.client.post(f"/v1/facts/{first['fact']['id']}/redaction", json={"reason": "wrong"})
    answered(redaction)
    found = (await subscribed.client.get("/v1/facts", params={"aggregate_id": "bob"})).json()["facts"][0]
    answered(await subscribed.client.post(f"/v1/facts/{found['id']}/redaction", json={"reason": "wrong"}))
    [second] = await subscribed.claim(1, wait_seconds=5)
    assert (second["fact"]["payload"], second["fact"]["redacted"]) == (None, True)
    answered(await subscribed.post("release", leases=leases_of([first])))
    [again] = await subscribed.claim(1, wait_seconds=5)
    assert (again["fact"]["payload"], again["fact"]["redacted"]) == (None, True)


async def test_what_this_process_cannot_decrypt_is_not_skipped(
    start_service: StartService, opened: AsyncExitStack
) -> None:
    able = await subscribed_at(opened, await start_service(master_key=new_master_key()))
    unable = await subscribed_at(opened, await start_service())
    await able.put()
    fact = {"namespace": "shop", "type": "Done", "payload": 1, "data_subject": "ann"}
    answered(await able.client.post("/v1/facts", json={"facts": [fact]}), 201)
    problem(await unable.post("claim", worker="w", wait_seconds=5), 503, "key-unavailable")
    [claimed] = await able.claim(wait_seconds=5)
    answered(await able.post("release", leases=leases_of([claimed])))
    problem(await unable.post("claim", worker="w"), 503, "key-unavailable")
    [again] = await able.claim(wait_seconds=5)
    assert again["attempt"] == 1
