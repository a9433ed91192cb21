"""Bodies that take long to decode hold up nobody."""

import asyncio
import gzip

import httpx

from tests.conftest import StartService
from tests.e2e.wire import connect

BLANK_LINES = 256 * 1024 * 1024  # in one chunk of a compressed body, and minutes of work
PROGRESS_SECONDS = 20


async def test_an_import_of_blank_lines_without_an_end_holds_up_nobody(start_service: StartService) -> None:
    service = await start_service()
    body = gzip.compress(b"\n" * BLANK_LINES)
    reader, writer = await connect(service.url)
    head = "POST /v1/facts/import HTTP/1.1\r\nhost: [::]\r\ncontent-type: application/x-ndjson\r\n"
    writer.write(f"{head}content-encoding: gzip\r\ncontent-length: {len(body) + 1}\r\n\r\n".encode() + body)
    async with httpx.AsyncClient(base_url=service.url, timeout=PROGRESS_SECONDS, verify=False) as client:
        for _ in range(2):  # it goes on before and after another request
            await asyncio.wait_for(reader.readuntil(b'{"progress":'), PROGRESS_SECONDS)
            assert (await client.get("/livez")).is_success
    writer.transport.abort()
    assert await service.terminate() == 0  # it has ended, too: its rest would take longer than the end of the process
