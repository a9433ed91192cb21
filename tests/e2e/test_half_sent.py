"""A client that leaves in the middle of a body gives back the room that its bytes took."""

import asyncio

import httpx

from tests.conftest import StartService
from tests.e2e.wire import connect
from tests.support.builders import publication
from tests.support.waiting import until

MIB = 1024 * 1024
ROOM_BYTES = 4 * MIB
HALF_BYTES = 3 * MIB
LEAVING = 5
HEAD = (
    b"POST /v1/facts HTTP/1.1\r\nhost: [::]\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    % ROOM_BYTES
)


async def test_half_sent_bodies_leave_no_room_taken(start_service: StartService) -> None:
    service = await start_service(bodies_bytes_max=ROOM_BYTES, body_bytes_max=ROOM_BYTES)
    large = publication() | {"facts": [{"namespace": "shop", "type": "Noted", "payload": "x" * (MIB - 100)}] * 3}
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        for _ in range(LEAVING):
            _, writer = await connect(service.url)
            writer.write(HEAD + b" " * HALF_BYTES)
            async with asyncio.timeout(10):
                await writer.drain()
            writer.transport.abort()

        async def takes_a_large_body() -> bool:
            return (await client.post("/v1/facts", json=large)).status_code == 201

        await until(takes_a_large_body)
