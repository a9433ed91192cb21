"""Any EventSource is enough to follow: here that of a Node package."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.builders import new_facts
from tests.support.service import ServiceProcess

pytestmark = pytest.mark.clients

FOLLOW = Path(__file__).parent / "follow.mjs"
LINE_SECONDS = 30.0

StartService = Callable[..., Awaitable[ServiceProcess]]


async def test_an_event_source_gets_history_then_live_facts_in_order(start_service: StartService) -> None:
    service = await start_service()
    history = await publish(service, count=3)
    async with following(service) as client:
        assert await cursors(client, count=3) == history
        assert await line(client) == "caught-up"
        live = await publish(service, count=2)
        assert await cursors(client, count=2) == live


async def test_an_event_source_goes_on_without_gap_or_repeat_after_a_kill(start_service: StartService) -> None:
    service = await start_service()
    before = await publish(service, count=2)
    async with following(service) as client:
        assert await cursors(client, count=2) == before
        await service.kill()
        service = await start_service(port=service.port)
        after = await publish(service, count=2)
        assert await cursors(client, count=2) == after


async def publish(service: ServiceProcess, *, count: int) -> list[str]:
    """Publish facts and return their cursors."""
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        answer = await client.post("/v1/facts", json={"facts": new_facts(count)})
    answer.raise_for_status()
    return [f"1:{fact['position']}" for fact in answer.json()["facts"]]


@asynccontextmanager
async def following(service: ServiceProcess) -> AsyncIterator[Process]:
    client = await asyncio.create_subprocess_exec("node", str(FOLLOW), f"{service.url}/v1/stream", stdout=PIPE)
    try:
        yield client
    finally:
        if client.returncode is None:
            client.kill()
        await client.wait()


async def cursors(client: Process, *, count: int) -> list[str]:
    """Return the cursors of the next facts; each fact's own position must agree."""
    received: list[str] = []
    while len(received) < count:
        text = await line(client)
        if text != "caught-up":
            message = json.loads(text)
            assert message["cursor"] == f"1:{message['fact']['position']}"
            received.append(message["cursor"])
    return received


async def line(client: Process) -> str:
    assert client.stdout is not None
    async with asyncio.timeout(LINE_SECONDS):
        text = await client.stdout.readline()
    assert text, "the client has ended"
    return text.decode().strip()
