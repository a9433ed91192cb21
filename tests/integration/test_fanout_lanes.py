"""Lanes: streams of a tenant whose queries take long to compare keep no others waiting, and lose nothing themselves."""

import asyncio
from dataclasses import replace

from factwire.domain.query import Query, new_item
from factwire.follow.fanout import StreamLink
from factwire.follow.fanout_lanes import LOOKS_MAX, LaneLoad, comparisons_of
from factwire.follow.progress import Happening
from factwire.follow.streams import StreamRequest
from factwire.store.append import append
from tests.integration.logs import connected
from tests.integration.store import a_fact
from tests.integration.streams import Process, everything, positions_of, process
from tests.support.waiting import until

STREAMS = 90
ITEMS = 20  # of each query: 7 200 look-ups a fact
FACTS = 1000
AT_ONCE = 300  # streams with one query: several times as many as are pushed to without a pause


def of_one_aggregate(number: int, *, items: int = ITEMS) -> Query:
    """All of these queries look at one aggregate, and each at types of its own."""
    return Query(tuple(new_item(aggregate_ids=["hot"], types=[f"T{number}-{item}"]) for item in range(items)))


def of(tenant: str, query: Query) -> StreamRequest:
    return replace(everything(0), query=query, tenant=tenant)


async def follow(running: Process, following: StreamRequest, seen: list[int]) -> None:
    """Note the positions that one stream gets, pushed or not."""

    def push(happening: Happening) -> bool:
        seen.extend(positions_of(happening))
        return True

    async for happening in running.streams.follow(following, StreamLink(push)):
        seen.extend(positions_of(happening))


async def test_a_tenant_whose_queries_take_long_keeps_no_other_waiting_and_gets_what_it_asked_for(
    fresh_database_url: str,
) -> None:
    async with process(fresh_database_url) as running, connected(fresh_database_url) as [connection]:
        many: list[list[int]] = [[] for _ in range(STREAMS)]
        other: list[int] = []
        async with asyncio.timeout(40), asyncio.TaskGroup() as group:
            pushing = group.create_task(running.streams.run())
            for number, seen in enumerate(many):
                group.create_task(follow(running, of("many", of_one_aggregate(number)), seen))
            group.create_task(follow(running, of("other", Query((new_item(types=["Other"]),))), other))
            await until(lambda: running.streams.states["live",] == STREAMS + 1)
            await append(connection, [([a_fact(aggregate_ids=["hot"]) for _ in range(FACTS)], None)])
            found = [a_fact(aggregate_ids=["hot"], type=f"T{number}-7") for number in range(STREAMS)]
            await append(connection, [(found, None)])
            await append(connection, [([a_fact(type="Other")], None)])
            await until(lambda: other == [FACTS + STREAMS + 1])
            assert not all(many)  # in one pass for all, they would have come first
            await until(lambda: all(seen == [FACTS + 1 + number] for number, seen in enumerate(many)))
            await until(lambda: running.streams.states["live",] == STREAMS + 1)
            running.streams.drain()
            await until(lambda: running.streams.open == 0)
            pushing.cancel()


async def test_a_stream_that_does_not_fit_into_the_shared_lane_is_served_in_another(fresh_database_url: str) -> None:
    async with process(fresh_database_url) as running, connected(fresh_database_url) as [connection]:
        seen: list[list[int]] = [[] for _ in range(STREAMS)]
        async with asyncio.timeout(40), asyncio.TaskGroup() as group:
            pushing = group.create_task(running.streams.run())
            for number, each in enumerate(seen):
                group.create_task(follow(running, of("many", of_one_aggregate(number)), each))
            await until(lambda: running.streams.states["live",] == STREAMS)
            await append(connection, [([a_fact(aggregate_ids=["hot"]) for _ in range(100)], None)])
            found = [a_fact(aggregate_ids=["hot"], type=f"T{number}-5") for number in range(STREAMS)]
            await append(connection, [(found, None)])
            await until(lambda: seen == [[101 + number] for number in range(STREAMS)])
            running.streams.drain()
            await until(lambda: running.streams.open == 0)
            pushing.cancel()


async def test_nobody_gets_a_fact_again_where_a_pass_ended_among_the_streams_of_one_query(
    fresh_database_url: str,
) -> None:
    async with process(fresh_database_url) as running, connected(fresh_database_url) as [connection]:
        seen: list[list[int]] = [[] for _ in range(AT_ONCE)]
        pushing = asyncio.create_task(running.streams.run())

        async def follow_and_fail(each: list[int]) -> None:
            def push(happening: Happening) -> bool:
                each.extend(positions_of(happening))
                if sum(map(bool, seen)) == AT_ONCE // 5:
                    asyncio.get_running_loop().call_soon(pushing.cancel)
                return True

            async for happening in running.streams.follow(everything(0), StreamLink(push)):
                each.extend(positions_of(happening))

        async with asyncio.timeout(40), asyncio.TaskGroup() as group:
            for each in seen:
                group.create_task(follow_and_fail(each))
            await until(lambda: running.streams.states["live",] == AT_ONCE)
            await append(connection, [([a_fact()], None)])
            await until(pushing.done)
            assert 0 < sum(map(bool, seen)) < AT_ONCE
            again = group.create_task(running.streams.run())
            await until(lambda: all(seen))
            await append(connection, [([a_fact()], None)])
            await until(lambda: all(2 in each for each in seen))
            assert seen == [[1, 2]] * AT_ONCE
            running.streams.drain()
            await until(lambda: running.streams.open == 0)
            again.cancel()


def test_streams_with_one_query_count_as_one_and_what_left_makes_room() -> None:
    load, query = LaneLoad(), of_one_aggregate(0, items=5)
    assert comparisons_of(query) < LOOKS_MAX < 10 * comparisons_of(query)
    for _ in range(1000):
        load.add(query)
    others = [of_one_aggregate(number, items=5) for number in range(1, 10)]
    fitting = []
    for other in others:
        if load.fits(other):
            load.add(other)
            fitting.append(other)
    assert len(fitting) == LOOKS_MAX // comparisons_of(query) - 1
    load.discard(fitting[0])
    assert load.fits(others[-1])
    for _ in range(1000):
        load.discard(query)
    for other in fitting[1:]:
        load.discard(other)
    assert load.is_empty


def test_items_that_an_index_answers_cost_nothing() -> None:
    load = LaneLoad()
    for number in range(1000):
        load.add(Query((new_item(aggregate_ids=[f"order-{number}"]), new_item(types=[f"T{number}"]))))
    assert load.fits(of_one_aggregate(0, items=5))
