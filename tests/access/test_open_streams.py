"""GET /v1/streams: who manages the log sees who follows, and of queries only what he may read."""

import asyncio

from tests.access.keys import EVERYTHING_GRANTED, POLL_SECONDS, known, make_key, new_client, new_grants
from tests.conftest import StartService

MANAGER = new_grants(manage=(["factwire"], []), read=(["loans"], []))


async def test_queries_that_may_match_what_a_manager_may_not_read_are_left_out(start_service: StartService) -> None:
    service = await start_service(auth="keys")
    everything = await make_key(service.database_url, EVERYTHING_GRANTED)
    manager = await make_key(service.database_url, MANAGER)
    await known(service.url, everything.secret, manager.secret)
    async with (
        new_client(service.url, everything.secret) as follower,
        new_client(service.url, manager.secret) as client,
        follower.stream("GET", "/v1/stream?namespace=loans&aggregate_id=loan-1"),
        follower.stream("GET", "/v1/stream?namespace=loans&namespace=secret"),
        follower.stream("GET", "/v1/stream?aggregate_id=patient-4711"),
        follower.stream("GET", "/v1/stream"),
        asyncio.timeout(15),
    ):
        while (told := (await client.get("/v1/streams")).json())["open"] < 4:
            await asyncio.sleep(POLL_SECONDS)
        seen = [stream["query"] for stream in told["streams"] if "query" in stream]
        assert [item["aggregate_ids"] for query in seen for item in query["items"]] == [["loan-1"]]
        assert len(told["streams"]) == 4
        whole = (await follower.get("/v1/streams")).json()
        assert all("query" in stream for stream in whole["streams"])
