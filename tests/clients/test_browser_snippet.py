"""The snippet of docs/protocol.md, run as it stands there."""

import asyncio
import json
import re
from asyncio.subprocess import PIPE
from pathlib import Path

import httpx
import pytest

from tests.conftest import StartService
from tests.support.builders import new_fact, publication
from tests.support.service import ROOT, ServiceProcess

pytestmark = pytest.mark.clients

SNIPPET = re.compile(r"^```js\n(function follow.*?)^```", re.MULTILINE | re.DOTALL)
AROUND = """
import {{ EventSource }} from "eventsource";
{snippet}
follow(process.argv[2], (fact) => console.log(fact.id), (refusal) => {{ console.log(refusal); process.exit(); }});
"""
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
LINE_SECONDS = 30.0


async def test_the_snippet_goes_on_where_an_event_source_stops_for_good(start_service: StartService) -> None:
    service = await start_service()
    ids = [await published(service)]
    follower = await following(f"{service.url}/v1/stream?namespace=shop")
    try:
        assert await line(follower) == ids[0]
        await service.kill()
        await answer_badly(service.port)
        service = await start_service(port=service.port)
        ids.append(await published(service))
        assert await line(follower) == ids[1]
    finally:
        follower.kill()
        await follower.wait()


async def test_the_snippet_stops_where_going_on_would_be_wrong(start_service: StartService) -> None:
    service = await start_service()
    follower = await following(f"{service.url}/v1/stream?typ=misspelt")
    assert json.loads(await line(follower))["type"] == "urn:factwire:problem:unknown-parameter"
    assert await follower.wait() == 0


async def published(service: ServiceProcess) -> str:
    fact = new_fact()
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        (await client.post("/v1/facts", json=publication(fact))).raise_for_status()
    return str(fact["id"])


async def following(url: str) -> asyncio.subprocess.Process:
    snippet = SNIPPET.search((ROOT / "docs" / "protocol.md").read_text())
    assert snippet is not None
    command = ["node", "--input-type=module", "-e", AROUND.format(snippet=snippet[1]), "--", "follow", url]
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, cwd=Path(__file__).parent)


async def line(follower: asyncio.subprocess.Process) -> str:
    assert follower.stdout is not None
    return (await asyncio.wait_for(follower.stdout.readline(), LINE_SECONDS)).decode().strip()


async def answer_badly(port: int) -> None:
    """Be a proxy without an upstream until the follower has asked."""
    asked = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(BAD_GATEWAY)
        await writer.drain()
        writer.close()
        asked.set()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    await asyncio.wait_for(asked.wait(), LINE_SECONDS)
    server.close()
    await server.wait_closed()
