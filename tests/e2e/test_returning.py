"""Streams that cannot be opened now: their clients are asked to come back, and kept from doing so at once."""

import asyncio
import time

from tests.conftest import StartService
from tests.e2e.wire import streaming

RETRY_SECONDS = 0.5


async def test_a_busy_answer_is_held_open_for_the_time_that_it_names(start_service: StartService) -> None:
    service = await start_service(streams_max=1, retry_seconds=RETRY_SECONDS)
    async with streaming(service.url) as taken:
        await taken.read_until(lambda body: b"caught-up" in body)
        began_at = time.monotonic()
        async with streaming(service.url) as refused:
            whole = await refused.read_to_the_end()
            assert refused.ended_cleanly
    line, _, rest = whole.partition(b"\n")
    assert line.startswith(b"retry: ")
    assert rest == b""
    # Clients that take a clean end for success and ignore the line come back no sooner than those that do not.
    assert time.monotonic() - began_at >= int(line[7:]) / 1000 >= RETRY_SECONDS


async def test_a_client_that_leaves_a_held_answer_is_noticed(start_service: StartService) -> None:
    service = await start_service(streams_max=1, retry_seconds=60)
    async with streaming(service.url) as taken:
        await taken.read_until(lambda body: b"caught-up" in body)
        async with streaming(service.url) as refused:
            await refused.read_until(lambda body: body.endswith(b"\n"))


async def test_a_process_that_ends_waits_for_no_held_answer(start_service: StartService) -> None:
    service = await start_service(streams_max=1, retry_seconds=60, drain_seconds=1)
    async with streaming(service.url) as taken, streaming(service.url) as refused:
        await taken.read_until(lambda body: b"caught-up" in body)
        await refused.read_until(lambda body: body.endswith(b"\n"))
        ending = asyncio.create_task(service.terminate())
        await refused.read_to_the_end()
        assert refused.ended_cleanly
        assert await ending == 0
