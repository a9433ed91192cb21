"""Following the log: history, then live, exactly once; forks and dead listeners are noticed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace

import asyncpg
import pytest

from factwire.domain.errors import CursorAhead, CursorForked, HistoryForked
from factwire.domain.position import START, Cursor, Position
from factwire.domain.query import EVERYTHING, Query, new_item
from factwire.follow.fanout import StreamLink
from factwire.follow.notifications import Listener, Notifier
from factwire.follow.pages import PageRequest, find_page
from factwire.follow.progress import CaughtUp, Facts, Failed, Happening, Quiet
from factwire.store.log import raise_epoch, resolve
from factwire.store.notifications import listeners
from factwire.store.read_tail import Fork
from tests.integration.logs import connected
from tests.integration.store import a_fact, append_alone, execute, opened
from tests.integration.streams import everything, positions_of, process, publish, rewrite
from tests.support.waiting import until


async def positions_until(happenings: AsyncIterator[Happening], last: int) -> list[int]:
    seen: list[int] = []
    async with asyncio.timeout(15):
        while not seen or seen[-1] < last:
            happening = await anext(happenings)
            if isinstance(happening, Facts):
                lines = happening.body.splitlines()
                seen += [int(line.rpartition(b":")[2]) for line in lines if line.startswith(b"id: ")]
    return seen


@pytest.mark.parametrize("ring_bytes_max", [5_000, 2**22], ids=["small-ring", "large-ring"])
async def test_a_stream_gets_each_fact_once_while_facts_arrive_during_its_catch_up(
    fresh_database_url: str, ring_bytes_max: int
) -> None:
    await publish(fresh_database_url, 3, 1000)
    async with process(fresh_database_url, ring_bytes_max=ring_bytes_max) as running:
        publishing = asyncio.create_task(publish(fresh_database_url, 100, 10))
        seen = await positions_until(running.streams.follow(everything(0)), 4000)
        await publishing
        assert seen == list(range(1, 4001))
        for cursor in (0, 1, 999, 2999, 3500, 3999):
            resumed = await positions_until(running.streams.follow(everything(cursor)), 4000)
            assert resumed == list(range(cursor + 1, 4001))


async def test_many_slow_and_fast_streams_agree(fresh_database_url: str) -> None:
    async with process(fresh_database_url, ring_bytes_max=20_000) as running:

        async def follow(pause: float) -> list[int]:
            seen: list[int] = []
            async for happening in running.streams.follow(everything(0)):
                if isinstance(happening, Facts):
                    lines = happening.body.splitlines()
                    seen += [int(line.rpartition(b":")[2]) for line in lines if line.startswith(b"id: ")]
                    await asyncio.sleep(pause)
                if seen and seen[-1] == 2000:
                    return seen
            raise AssertionError("the stream ended")

        following = [asyncio.create_task(follow(n % 4 * 0.01)) for n in range(12)]
        await publish(fresh_database_url, 200, 10)
        async with asyncio.timeout(20):
            assert all(seen == list(range(1, 2001)) for seen in await asyncio.gather(*following))


async def test_caught_up_comes_once_between_history_and_live(fresh_database_url: str) -> None:
    await publish(fresh_database_url, 1, 5)
    async with process(fresh_database_url) as running:
        stream = running.streams.follow(everything(0, head=5))
        first, second = await anext(stream), await anext(stream)
        assert isinstance(first, Facts)
        assert second == CaughtUp(Cursor(1, Position(5)))
        await publish(fresh_database_url, 1, 1)
        assert isinstance(await anext(stream), Facts)


async def test_a_history_that_changed_is_noticed_and_not_served(fresh_database_url: str) -> None:
    await publish(fresh_database_url, 5, 1)
    async with process(fresh_database_url) as running:
        await publish(fresh_database_url, 1, 1)
        stream = running.streams.follow(everything(5))
        await positions_until(stream, 6)
        await until(lambda: running.tail.head == 6)
        await rewrite(fresh_database_url, *(a_fact() for _ in range(4)))
        await until(lambda: running.tail.fork is not None)
        assert running.tail.forks == 1
        ends = [happening async for happening in stream]
        assert isinstance(ends[-1], Failed)
        assert isinstance(ends[-1].error, HistoryForked)
        with pytest.raises(HistoryForked):
            await find_page(running.database, running.tail, a_read(6))

        async with running.database.read() as connection:
            assert await raise_epoch(connection, forked_after=Position(3), by="test") == (2, 3)
        await until(lambda: running.tail.epoch == 2)
        assert running.tail.fork is None
        assert await positions_until(running.streams.follow(everything(3, epoch=2)), 8) == [4, 5, 6, 7, 8]


async def test_no_page_ends_at_a_fork_as_if_that_were_all(fresh_database_url: str) -> None:
    async with process(fresh_database_url) as running:
        await publish(fresh_database_url, 5, 1)
        await until(lambda: running.tail.head == 5)
        await rewrite(fresh_database_url, *(a_fact() for _ in range(4)))
        await until(lambda: running.tail.fork == Fork(Position(3)))
        found = await find_page(running.database, running.tail, a_read(0))
        assert (found.page.facts, found.page.through, found.caught_up) == (3, 3, False)
        with pytest.raises(HistoryForked):
            await find_page(running.database, running.tail, replace(a_read(0), descending=True))
        shared = replace(a_read(0), until=Cursor(0, Position(3)))
        for reading in (shared, replace(shared, descending=True)):
            found = await find_page(running.database, running.tail, reading)
            assert (found.page.facts, found.caught_up) == (3, True)


async def test_a_fact_that_was_lost_and_published_again_behind_another_one_is_a_fork(fresh_database_url: str) -> None:
    """Its id at its old position must not hide that the fact before it is another one."""
    async with process(fresh_database_url) as running:
        await publish(fresh_database_url, 3, 1)
        lost, repeated, other = a_fact(), a_fact(), a_fact()
        async with connected(fresh_database_url) as [connection]:
            for each in (lost, repeated):
                await append_alone(connection, each)
            await until(lambda: running.tail.head == 5)
            await rewrite(fresh_database_url, other, repeated)
        await until(lambda: running.tail.fork is not None)
        assert running.tail.fork == Fork(Position(3))


async def test_a_fork_below_an_equal_head_is_noticed(fresh_database_url: str) -> None:
    """As many facts as before, but others: only their ids tell."""
    await publish(fresh_database_url, 5, 1)
    async with process(fresh_database_url, poll_seconds=0.01) as running:
        connection = await asyncpg.connect(fresh_database_url)
        async with connection.transaction():
            await connection.execute("set local session_replication_role = replica")
            await connection.execute("update factwire.facts set id = gen_random_uuid() where position = 5")
        await connection.close()
        await until(lambda: running.tail.fork is not None)


async def test_cursors_of_older_epochs_are_good_up_to_the_lowest_fork_after_them(fresh_database_url: str) -> None:
    await publish(fresh_database_url, 10, 1)
    async with opened(fresh_database_url) as database, database.read() as connection:
        await raise_epoch(connection, forked_after=Position(6), by="test")
        await raise_epoch(connection, forked_after=Position(8), by="test")
        for cursor in ("1:6", "2:8", "3:10", "0:10", "1:0"):
            epoch, position = map(int, cursor.split(":"))
            assert (await resolve(connection, Cursor(epoch, Position(position)))).position == position
        for cursor in ("1:7", "2:9", "4:0"):
            epoch, position = map(int, cursor.split(":"))
            with pytest.raises(CursorForked):
                await resolve(connection, Cursor(epoch, Position(position)))
        with pytest.raises(CursorAhead):
            await resolve(connection, Cursor(3, Position(13)))  # two facts tell of the epochs


async def test_a_listener_that_dies_is_replaced_and_hints_go_on(fresh_database_url: str) -> None:
    hints = 0

    def hint() -> None:
        nonlocal hints
        hints += 1

    listener = Listener(fresh_database_url, hint)
    running = asyncio.create_task(listener.run())
    await until(lambda: listener.connected)
    await execute(
        fresh_database_url,
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'factwire listen' and datname = current_database()",
    )
    await until(lambda: not listener.connected)
    await until(lambda: listener.connected)
    before = hints
    async with opened(fresh_database_url) as database:
        notifier = Notifier(database)
        notifying = asyncio.create_task(notifier.run())
        notifier.hint()
        await until(lambda: hints > before)
        notifying.cancel()
    running.cancel()


async def test_no_hint_is_sent_where_no_other_process_would_hear_it(fresh_database_url: str) -> None:
    hints: list[str] = []
    listener = Listener(fresh_database_url, lambda: hints.append("hint"))
    running = asyncio.create_task(listener.run())
    await until(lambda: listener.connected)
    async with opened(fresh_database_url) as database:
        heard = False
        notifier = Notifier(database, lambda: heard)
        notifying = asyncio.create_task(notifier.run())
        hints.clear()
        notifier.hint()
        await asyncio.sleep(0)
        heard = True
        notifier.hint()
        await until(lambda: len(hints) > 0)
        # What had been sent before would have come before.
        assert len(hints) == 1
        notifying.cancel()
    running.cancel()


async def test_a_process_knows_whether_others_listen(fresh_database_url: str) -> None:
    mine, other = (Listener(fresh_database_url, lambda: None) for _ in range(2))
    assert not mine.is_alone(None)
    async with opened(fresh_database_url) as database:

        async def alone() -> bool:
            async with database.watch.acquire() as connection:
                return mine.is_alone(await listeners(connection))

        running = asyncio.create_task(mine.run())
        await until(lambda: mine.connected)
        assert await alone()
        also_running = asyncio.create_task(other.run())
        await until(lambda: other.connected)
        assert not await alone()
        also_running.cancel()
        async with asyncio.timeout(15):
            while not await alone():
                await asyncio.sleep(0.005)
    running.cancel()


async def test_the_poll_delivers_without_any_notification(fresh_database_url: str) -> None:
    async with process(fresh_database_url) as running:
        await publish(fresh_database_url, 1, 3)
        assert await positions_until(running.streams.follow(everything(START)), 3) == [1, 2, 3]


def a_read(after: int) -> PageRequest:
    return PageRequest(query=EVERYTHING, after=Cursor(0, Position(after)), until=None, descending=False, facts_max=10)


async def test_streams_that_are_pushed_to_get_each_fact_once_however_unwillingly_their_clients_read(
    fresh_database_url: str,
) -> None:
    """Four queries, streams that come while facts arrive, and clients that refuse every so often what is pushed."""
    queries = [EVERYTHING, *(Query((new_item(types=["OrderPlaced"], namespaces=["shop", other]),)) for other in "abc")]
    async with process(fresh_database_url, ring_bytes_max=2**15) as running:
        pushing = asyncio.create_task(running.streams.run())

        every: list[list[int]] = [[] for _ in range(24)]

        async def follow(number: int) -> None:
            seen = every[number]
            pushes = 0

            def push(happening: Happening) -> bool:
                nonlocal pushes
                pushes += 1
                if number % 3 and pushes % (number + 5) == 0:
                    return False
                seen.extend(positions_of(happening))
                return True

            link = StreamLink(push)
            await asyncio.sleep(number * 0.02)
            wanted = replace(everything(0), query=queries[number % len(queries)])
            async for happening in running.streams.follow(wanted, link):
                seen.extend(positions_of(happening))

        following = [asyncio.create_task(follow(number)) for number in range(24)]
        await publish(fresh_database_url, 400, 5)
        await until(lambda: all(len(seen) >= 2000 for seen in every))
        running.streams.drain()
        async with asyncio.timeout(20):
            await asyncio.gather(*following)
        assert all(seen == list(range(1, 2001)) for seen in every)
        pushing.cancel()


async def test_a_sign_of_life_that_cannot_be_pushed_is_told_by_the_stream_itself(fresh_database_url: str) -> None:
    await publish(fresh_database_url, 1, 1)
    async with process(fresh_database_url) as running:
        pushing = asyncio.create_task(running.streams.run())
        link = StreamLink(lambda happening: False)
        wanted = replace(everything(1), heartbeat_seconds=0.5)
        async with asyncio.timeout(10), aclosing(running.streams.follow(wanted, link)) as happenings:
            kinds = [type(await anext(happenings)) for _ in range(3)]
        assert kinds == [CaughtUp, Quiet, Quiet]
        pushing.cancel()


async def test_a_client_that_cannot_be_written_to_does_not_keep_the_others_waiting(fresh_database_url: str) -> None:
    def broken(happening: Happening) -> bool:
        raise RuntimeError("the handler is closed")

    async with process(fresh_database_url) as running:
        pushing = asyncio.create_task(running.streams.run())
        every: list[list[int]] = [[], [], []]

        async def follow(seen: list[int], link: StreamLink) -> None:
            async for happening in running.streams.follow(everything(0), link):
                seen.extend(positions_of(happening))

        def kept_in(seen: list[int]) -> Callable[[Happening], bool]:
            def keep(happening: Happening) -> bool:
                seen.extend(positions_of(happening))
                return True

            return keep

        links = [StreamLink(kept_in(seen)) for seen in every]
        links[1] = StreamLink(broken)
        following = [asyncio.create_task(follow(seen, link)) for seen, link in zip(every, links, strict=True)]
        await until(lambda: running.streams.open == 3)
        await publish(fresh_database_url, 20, 1)
        await until(lambda: all(len(seen) >= 20 for seen in every))
        running.streams.drain()
        async with asyncio.timeout(10):
            await asyncio.gather(*following)
        assert every == [list(range(1, 21))] * 3
        assert not pushing.done()
        pushing.cancel()
