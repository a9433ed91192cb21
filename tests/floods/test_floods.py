"""Floods from one address: what of them is refused, and what others notice meanwhile."""

import asyncio
import re

import httpx
import pytest

from tests.conftest import StartService
from tests.floods.attackers import (
    Attack,
    bomb_headers,
    dribble_body,
    dribble_headers,
    hold,
    is_loopback_network,
    run_attackers,
)
from tests.floods.bystanders import Bystanders, Noticed, at
from tests.floods.flooding import flooded

FLOOD_SECONDS = 12.0
P99_MILLISECONDS = 250.0  # of others, as promised
HELD_BY_OTHERS_MAX = 20
FAR_BEYOND = 4  # times that fails the test: the machine of a test may be busy otherwise

pytestmark = [
    pytest.mark.floods,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not is_loopback_network(), reason="needs the loopback network of Linux"),
]


@pytest.mark.parametrize(
    ("attack", "connections", "settings", "expected"),
    [
        (dribble_headers, 500, {"header_seconds": 3}, "408"),
        (dribble_body, 500, {"body_seconds": 3}, "408"),
        (bomb_headers, 200, {}, "431"),
        (hold, 10_000, {"address_connections_max": 100}, "closed"),
        (hold, 1000, {"address_streams_max": 100}, "200"),
    ],
    ids=["slow headers", "slow bodies", "header bombs", "10000 connections", "1000 streams"],
)
async def test_others_are_served_while_one_address_floods(
    start_service: StartService,
    request: pytest.FixtureRequest,
    attack: Attack,
    connections: int,
    settings: dict[str, object],
    expected: str,
) -> None:
    service = await start_service(**settings)
    bystanders = Bystanders(service.url)
    async with bystanders.busy():
        await asyncio.sleep(2)
        calm = at(bystanders.noticed.publish, 0.99)
        bystanders.noticed = Noticed()
        async with flooded(run_attackers, service.port, attack, connections) as outcomes:
            await asyncio.sleep(FLOOD_SECONDS)
            held = await open_connections(service.url)
    print(f"\n{request.node.callspec.id}: others in a calm p99={calm:.1f} ms; meanwhile")
    for name, row in bystanders.noticed.rows().items():
        print(f"  {name:8} {row}")
    print(f"  attackers: {outcomes}")
    assert outcomes.get(expected, 0) >= min(connections, 1000)
    assert held <= HELD_BY_OTHERS_MAX + int(str(settings.get("address_connections_max", connections)))
    for values in (bystanders.noticed.publish, bystanders.noticed.connect, bystanders.noticed.deliver):
        assert len(values) > 100
        assert at(values, 0.99) < P99_MILLISECONDS * FAR_BEYOND


async def open_connections(url: str) -> float:
    async with httpx.AsyncClient(base_url=url, timeout=20, verify=False) as client:
        found = re.search(r"^factwire_open_connections (\S+)$", (await client.get("/metrics")).text, re.MULTILINE)
    assert found is not None
    return float(found[1])
