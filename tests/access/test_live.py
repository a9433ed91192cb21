"""What is pushed to streams at the head: to each what its key may read, also where all of them asked for everything."""

import json
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.access.conftest import Guarded, Tenant
from tests.access.keys import bearer, new_client
from tests.conformance.streams import follow
from tests.support.builders import Fact, new_fact, publication


async def publish(guarded: Guarded, tenant: Tenant, number: int) -> Fact:
    fact = new_fact(namespace=tenant.things.namespace, type=tenant.things.type, payload=f"pushed-{number}")
    async with new_client(guarded.url, tenant.secret) as client:
        response = await client.post("/v1/facts", json=publication(fact))
    assert response.status_code == 201, response.text
    return fact


@pytest.mark.parametrize("parameters", [{}, {"event": "type"}], ids=["plain", "typed"])
async def test_a_stream_without_a_query_is_pushed_only_what_may_be_read(
    guarded: Guarded, parameters: dict[str, Any]
) -> None:
    tenants = (guarded.ours, guarded.theirs)
    async with AsyncExitStack() as opened:
        secrets = [*(tenant.secret for tenant in tenants), guarded.reader, guarded.nobody]
        streams = [
            await opened.enter_async_context(
                follow(guarded.url, {"after": "head", "heartbeat": 3, **parameters}, headers=bearer(secret))
            )
            for secret in secrets
        ]
        for stream in streams:
            await stream.take_until_caught_up()
        facts = [await publish(guarded, tenants[number % 2], number) for number in range(6)]
        ours, theirs, reader, nobody = streams
        for stream, expected in ((ours, facts[0::2]), (theirs, facts[1::2]), (reader, facts)):
            shown = [await stream.next_fact() for _ in expected]
            assert [json.loads(frame.data)["id"] for frame in shown] == [fact["id"] for fact in expected]
        # One who may read nothing hears how far the log has come, and nothing else.
        await nobody.take_until(lambda frame: frame.event == "position", within_seconds=10)
        for stream, hidden in ((ours, facts[1::2]), (theirs, facts[0::2]), (nobody, facts)):
            received = stream.received.decode()
            for fact in hidden:
                assert fact["id"] not in received
                assert fact["payload"] not in received
                assert f'"{fact["namespace"]}"' not in received
