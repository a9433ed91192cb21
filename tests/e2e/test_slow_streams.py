"""A stream that is slower than the publishers falls out of the ring, and loses nothing by it."""

import httpx

from tests.conftest import StartService
from tests.e2e.wire import streaming
from tests.support.builders import new_fact, publication

MIB = 1024 * 1024
FACTS = 24
PAYLOAD = "x" * (512 * 1024)


async def test_a_stream_that_falls_out_of_the_ring_gets_every_fact_in_order(start_service: StartService) -> None:
    service = await start_service(ring_bytes_max=MIB, stream_send_seconds=30)
    async with (
        httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client,
        streaming(service.url) as slow,
        streaming(service.url) as quick,
    ):
        await slow.read_until(lambda body: b"caught-up" in body)
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for position in range(1, FACTS + 1):
            (await client.post("/v1/facts", json=publication(new_fact(payload=PAYLOAD)))).raise_for_status()
            await quick.read_until(lambda body, last=b"\nid: 1:%d\n" % position: last in body)  # type: ignore[misc]
        # Twelve MiB are published and the quick stream has them: the ring and the socket hold a fraction of that.
        slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await slow.read_until(lambda body: b"\nid: 1:%d\n" % FACTS in body and body.endswith(b"\n\n"))
        assert slow.positions() == list(range(1, FACTS + 1))
