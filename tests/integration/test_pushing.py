"""Pushing: what streams at the head get in one write, and when."""

import asyncio
import time

from factwire.domain.fact import NewFact
from factwire.follow.fanout import StreamLink
from factwire.follow.progress import Happening
from factwire.follow.tail import Tail
from factwire.publish.publisher import Publisher
from factwire.store.append import Appended
from tests.integration.store import a_fact, opened
from tests.integration.streams import Process, everything, positions_of, process
from tests.support.waiting import until

STREAMS = 40
STARTING_STEPS = 10  # of the event loop: the first pass wakes every stream, which then reads by itself
PUSH_SECONDS = 0.0005  # so that a pass takes 20 ms


class Arriving:
    """Facts that this process has published, put into its ring as the publisher does it."""

    def __init__(self) -> None:
        self.published: list[NewFact] = []
        self.tail: Tail

    def publish(self) -> None:
        head_id = self.published[-1].id if self.published else None
        self.published.append(a_fact())
        at = f"2026-01-31T12:00:00.{len(self.published):06d}Z"
        self.tail.follow_append(Appended(self.tail.head, head_id, 1, at, {}, 0), self.published[-1:])

    def more_to_come(self) -> bool:
        """The third fact is being published while the second is about to be pushed, and is there after one turn."""
        if len(self.published) != 2:
            return False
        asyncio.get_running_loop().call_soon(self.publish)
        return True


async def follow(running: Process, link: StreamLink) -> None:
    async for _ in running.streams.follow(everything(0), link):
        pass


def noting(seen: list[list[int]], *, seconds: float = 0) -> StreamLink:
    """The way to a client that notes each push, and takes its time for it."""

    def push(happening: Happening) -> bool:
        seen.append(positions_of(happening))
        time.sleep(seconds)
        return True

    return StreamLink(push)


async def test_facts_that_are_published_together_reach_each_of_many_streams_in_one_push(
    fresh_database_url: str,
) -> None:
    arriving = Arriving()
    async with process(fresh_database_url, poll_seconds=60, more_to_come=arriving.more_to_come) as running:
        arriving.tail = running.tail
        every: list[list[list[int]]] = [[] for _ in range(STREAMS)]
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            pushing = group.create_task(running.streams.run())
            for _ in range(STARTING_STEPS):
                await asyncio.sleep(0)
            for seen in every:
                group.create_task(follow(running, noting(seen, seconds=PUSH_SECONDS)))
            await until(lambda: running.streams.states["live",] == STREAMS)
            arriving.publish()
            await until(lambda: all(len(seen) == 1 for seen in every))
            arriving.publish()
            await until(lambda: all(sum(map(len, seen)) == 3 for seen in every))
            assert every == [[[1], [2, 3]]] * STREAMS
            running.streams.drain()
            await until(lambda: running.streams.open == 0)
            pushing.cancel()


async def test_a_few_streams_are_pushed_to_before_the_publisher_is_answered(fresh_database_url: str) -> None:
    async with process(fresh_database_url, poll_seconds=60) as running, opened(fresh_database_url) as database:
        publisher = Publisher(
            database,
            wait_seconds=10,
            waiting_requests_max=10,
            waiting_bytes_max=2**20,
            condition_seconds=1,
            on_appended=running.tail.follow_append,
        )
        seen: list[list[int]] = []
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            tasks = [group.create_task(running.streams.run()), group.create_task(publisher.run())]
            group.create_task(follow(running, noting(seen)))
            await until(lambda: running.streams.states["live",] == 1)
            for number in range(1, 6):
                await publisher.publish([a_fact()])
                assert seen[-1] == [number]
            running.streams.drain()
            await until(lambda: running.streams.open == 0)
            for task in tasks:
                task.cancel()
