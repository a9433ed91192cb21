"""Many workers of many subscriptions over the real loan process, while it is published."""

import asyncio
import re
import time
from collections import defaultdict

import httpx
import pytest

from tests.conformance.wire import answered
from tests.conftest import StartService
from tests.support.service import ROOT

LOANS = ROOT.parent / "shared" / "data" / "loan-applications.ndjson.gz"
EVENTS = 262_200
SUBSCRIPTIONS, WORKERS = 10, 4
LIMIT = 500
CLAIMED = re.compile(rb'"lease":"[^"]+\.(\d+)","attempt":(\d+),.*?"aggregate_ids":\["([^"]+)"\]', re.DOTALL)
LEASE = re.compile(rb'"lease":"([^"]+)"')
IMPORTED = {"content-type": "application/x-ndjson", "content-encoding": "gzip"}

pytestmark = [pytest.mark.floods, pytest.mark.timeout(1200)]


class Shared:
    """One subscription, and what its workers have claimed: positions by case, in the order of the answers."""

    def __init__(self, client: httpx.AsyncClient, number: int) -> None:
        self.client = client
        self.path = f"/v1/subscriptions/shared-{number}"
        self.claimed: defaultdict[bytes, list[int]] = defaultdict(list)
        self.count = 0

    async def work(self, worker: str) -> None:
        while self.count < EVENTS:
            body = {"worker": worker, "limit": LIMIT, "wait_seconds": 2}
            content = (await self.client.post(f"{self.path}/claim", json=body)).raise_for_status().content
            claimed, leases = CLAIMED.findall(content), LEASE.findall(content)
            assert len(claimed) == len(leases)
            assert {attempt for _, attempt, _ in claimed} <= {b"1"}
            for position, _, case in claimed:  # before they are acknowledged: then others may get the next of the case
                self.claimed[case].append(int(position))
            if leases:
                acknowledged = await self.client.post(
                    f"{self.path}/ack", json={"leases": [lease.decode() for lease in leases]}
                )
                assert answered(acknowledged)["acknowledged"] == len(leases)
            self.count += len(claimed)


@pytest.mark.skipif(not LOANS.exists(), reason="the loan applications are not beside this checkout")
async def test_each_event_is_worked_off_once_for_each_subscription_in_order_for_each_case(
    start_service: StartService,
) -> None:
    service = await start_service()
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=service.url, timeout=60, limits=limits) as client:
        shared = [Shared(client, number) for number in range(SUBSCRIPTIONS)]
        for each in shared:
            query = {"items": [{"namespaces": ["loans"]}]}
            answered(await client.put(each.path, json={"query": query, "start": "start"}), 201)
        began_at = time.perf_counter()
        working = [asyncio.create_task(each.work(f"worker-{number}")) for each in shared for number in range(WORKERS)]
        imported = await client.post("/v1/facts/import", content=LOANS.read_bytes(), headers=IMPORTED, timeout=600)
        assert f'"published":{EVENTS}' in imported.text.splitlines()[-1]
        await asyncio.gather(*working)
        seconds = time.perf_counter() - began_at
        print(f"\n{SUBSCRIPTIONS * EVENTS} facts were acknowledged in {seconds:.0f} s")
        for each in shared:
            assert each.count == EVENTS
            assert sorted(position for case in each.claimed.values() for position in case) == [*range(1, EVENTS + 1)]
            assert all(positions == sorted(positions) for positions in each.claimed.values())
            status = answered(await client.get(each.path))
            assert (status["in_flight"], status["held"], status["parked"]) == (0, 0, 0)
