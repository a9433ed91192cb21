"""A parser that is not ours reads the streams: httpx-sse, beside the bytes of `wire` and Node's EventSource."""

import asyncio
import json

import httpx
from httpx_sse import EventSource, aconnect_sse

from tests.conftest import StartService
from tests.e2e.wire import Acknowledged, exported, keep_publishing
from tests.support.builders import new_facts, publication
from tests.support.service import ServiceProcess
from tests.support.waiting import until

KILLS = 3
PUBLISHERS = 4


async def test_httpx_sse_reads_each_fact_with_its_cursor_and_then_a_clean_end(start_service: StartService) -> None:
    service = await start_service(stream_age_seconds_max=1)
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        (await client.post("/v1/facts", json=publication(*new_facts(50)))).raise_for_status()
        async with aconnect_sse(client, "GET", "/v1/stream") as source:
            events = [event async for event in source.aiter_sse()]
    assert [event.event for event in events] == ["message"] * 50 + ["caught-up"]
    assert [event.retry for event in events] == [2000] + [None] * 50
    facts = [event.json() for event in events[:-1]]
    assert [event.id.rpartition(":")[2] for event in events[:-1]] == [str(fact["position"]) for fact in facts]
    assert facts == await exported(service.url)


async def test_a_follower_goes_on_without_gap_or_repeat_while_the_service_is_killed(
    start_service: StartService,
) -> None:
    service = await start_service()
    told, done = Acknowledged(), asyncio.Event()
    seen: list[int] = []
    following = asyncio.create_task(follow_forever(service, seen))
    publishing = [asyncio.create_task(keep_publishing(service.url, told, done)) for _ in range(PUBLISHERS)]
    for _ in range(KILLS):
        wanted = len(seen) + 100
        await until(lambda wanted=wanted: reached(seen, wanted))
        await service.kill()
        service = await start_service(port=service.port)
    done.set()
    await asyncio.gather(*publishing)
    head = max(told.positions.values())
    await until(lambda: reached(seen, head))
    following.cancel()
    assert seen == list(range(1, head + 1))
    assert sorted(told.positions.values()) == seen


async def follow_forever(service: ServiceProcess, seen: list[int]) -> None:
    """Follow as EventSource does: come back with the last id wherever a stream was cut."""
    headers: dict[str, str] = {}
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        while True:
            try:
                async with aconnect_sse(client, "GET", "/v1/stream", headers=dict(headers)) as source:
                    await collect(source, headers, seen)
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def collect(source: EventSource, headers: dict[str, str], seen: list[int]) -> None:
    async for event in source.aiter_sse():
        headers["last-event-id"] = event.id
        if event.event == "message":
            seen.append(json.loads(event.data)["position"])


async def reached(seen: list[int], count: int) -> bool:
    return len(seen) >= count
