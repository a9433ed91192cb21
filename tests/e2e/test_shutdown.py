"""SIGTERM: no longer ready, streams end cleanly one after the other, running publishes finish, exit code 0."""

import asyncio
import json
import time

import asyncpg
import httpx

from tests.conftest import StartService
from tests.e2e.test_crashes import append_waits
from tests.e2e.wire import connect, streaming
from tests.support.builders import publication
from tests.support.waiting import until

STREAMS = 40
MOMENT_SECONDS = 0.2
IMPATIENT = """
import factwire.cli.main, factwire.server.server
factwire.server.server.FINISH_SECONDS = 1
factwire.cli.main.main(['serve'])
"""
HEAD = b"POST /v1/facts%b HTTP/1.1\r\nhost: localhost\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"


async def test_streams_end_cleanly_one_after_the_other(start_service: StartService) -> None:
    service = await start_service(drain_seconds=3)
    ends: list[float] = []

    async def follow() -> bool:
        async with streaming(service.url) as stream:
            await stream.read_until(lambda body: b"caught-up" in body)
            following.release()
            await stream.read_to_the_end()
            ends.append(time.monotonic())
            return stream.ended_cleanly

    following = asyncio.Semaphore(0)
    streams = [asyncio.create_task(follow()) for _ in range(STREAMS)]
    for _ in range(STREAMS):
        await following.acquire()
    ending = asyncio.create_task(service.terminate())
    async with httpx.AsyncClient(base_url=service.url, timeout=5, verify=False) as client:
        await until(lambda: is_draining(client))
    async with streaming(service.url) as late:
        assert (await late.read_to_the_end()).startswith(b"retry: ")
        assert late.ended_cleanly
    assert await asyncio.gather(*streams) == [True] * STREAMS
    assert await ending == 0
    assert most_at_once(ends) < STREAMS / 3


def most_at_once(ends: list[float]) -> int:
    """How many ended within the busiest moment."""
    return max(sum(start <= end < start + MOMENT_SECONDS for end in ends) for start in ends)


async def test_a_long_poll_ends_with_its_empty_page(start_service: StartService) -> None:
    service = await start_service(drain_seconds=1)
    async with httpx.AsyncClient(base_url=service.url, timeout=20, verify=False) as client:
        parameters: dict[str, str | float] = {"after": "head", "wait_seconds": 50}
        waiting = asyncio.create_task(client.get("/v1/facts", params=parameters))
        async with streaming(service.url) as stream:  # its answer comes after the poll has begun to wait
            await stream.read_until(lambda body: b"caught-up" in body)
        began_at = time.monotonic()
        ending = asyncio.create_task(service.terminate())
        page = await waiting
        assert (page.status_code, page.json()["facts"], page.json()["cursor"]) == (200, [], "1:0")
        assert await ending == 0
        assert time.monotonic() - began_at < 15  # unasked, it would have waited for 50 s
    assert "Traceback" not in service.log


async def test_every_answer_of_a_process_that_leaves_sends_its_client_elsewhere(start_service: StartService) -> None:
    service = await start_service(drain_seconds=10)
    publish = json.dumps(publication()).encode()
    requests = (
        b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /v1/facts HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"POST /v1/facts HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (len(publish), publish),
    )
    kept = [await connect(service.url) for _ in requests]
    for (reader, writer), request in zip(kept, requests, strict=True):
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert b"connection:" not in head.lower()
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
    polling = await connect(service.url)
    polling[1].write(b"GET /v1/facts?after=head&wait_seconds=50 HTTP/1.1\r\nhost: localhost\r\n\r\n")
    async with streaming(service.url) as stream:
        await stream.read_until(lambda body: b"caught-up" in body)
        ending = asyncio.create_task(service.terminate())
        async with httpx.AsyncClient(base_url=service.url, timeout=5, verify=False) as client:
            await until(lambda: is_draining(client))
        for (_, writer), request in zip(kept, requests, strict=True):
            writer.write(request)
        for reader, writer in (*kept, polling):
            answer = await asyncio.wait_for(reader.read(), 10)  # up to the end of the connection
            assert b"\r\nconnection: close\r\n" in answer.lower()
            assert b"\r\nx-request-id: " in answer.lower()
            writer.close()
    assert await ending == 0


async def test_what_is_under_way_when_the_time_is_over_gets_a_problem_that_says_what_is_written(
    start_service: StartService, fresh_database_url: str
) -> None:
    service = await start_service(command=("-c", IMPATIENT), drain_seconds=0)
    holder, watcher = await asyncpg.connect(fresh_database_url), await asyncpg.connect(fresh_database_url)
    await holder.execute("select pg_advisory_lock(lock_key) from factwire.log")
    body = json.dumps(publication()).encode()
    connections = [await connect(service.url) for _ in range(4)]
    half, line_without_end, whole, in_a_task = connections
    half[1].write(HEAD % (b"", b"application/json", len(body)) + body[:-1])
    line_without_end[1].write(HEAD % (b"/import", b"application/x-ndjson", 1000) + b"{")
    whole[1].write(HEAD % (b"", b"application/json", len(body)) + body)
    in_a_task[1].write(HEAD % (b"", b"application/json; charset=utf-8", len(body)) + body)
    await until(lambda: append_waits(watcher))
    ending = asyncio.create_task(service.terminate())
    answers = [await asyncio.wait_for(reader.read(), 15) for reader, _ in connections]
    # The one without a task is told when the append has given up its wait for the lock, and then for certain.
    codes = (b"unavailable", b"unavailable", b"unavailable", b"outcome-unknown")
    for answer, status, code in zip(answers, (b"503", b"200", b"503", b"503"), codes, strict=True):
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"\r\nx-request-id: " in answer
        assert b"urn:factwire:problem:" + code in answer
    await holder.close()
    await watcher.close()
    for _, writer in connections:
        writer.close()
    assert await ending == 0
    assert "Traceback" not in service.log


async def test_a_running_publish_finishes(start_service: StartService, fresh_database_url: str) -> None:
    service = await start_service()
    holder, watcher = await asyncpg.connect(fresh_database_url), await asyncpg.connect(fresh_database_url)
    held = holder.transaction()
    await held.start()
    await holder.execute("select pg_advisory_xact_lock(lock_key) from factwire.log")
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        publishing = asyncio.create_task(client.post("/v1/facts", json=publication()))
        await until(lambda: append_waits(watcher))
        ending = asyncio.create_task(service.terminate())
        await until(lambda: refuses_connections(service.url))
        await held.rollback()
        assert (await publishing).status_code == 201
        assert await ending == 0
    await holder.close()
    await watcher.close()


async def test_without_streams_the_end_is_quick(start_service: StartService) -> None:
    service = await start_service(drain_seconds=20)
    async with asyncio.timeout(5):
        assert await service.terminate() == 0


async def is_draining(client: httpx.AsyncClient) -> bool:
    response = await client.get("/readyz")
    return response.status_code == 503 and response.json()["draining"] is True


async def refuses_connections(url: str) -> bool:
    async with httpx.AsyncClient(base_url=url, timeout=5, verify=False) as client:
        try:
            await client.get("/livez")
        except httpx.TransportError:
            return True
    return False
