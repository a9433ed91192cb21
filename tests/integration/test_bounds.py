"""P8: what a slow or dead client, a large fact or a large group may cost the others."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from factwire.domain.fact import utc
from factwire.domain.position import EPOCH_MAX, Position
from factwire.domain.query import EVERYTHING, Query, new_item
from factwire.publish.batch import GROUP_REQUESTS_MAX
from factwire.store.append import append
from factwire.store.read import Form, PageBounds, read_page
from tests.integration.logs import (
    connected,
    fact,
    holders_of_the_lock,
    ids_of,
    opened_publisher,
    store,
    stored_ids,
    unless,
    waiting_for_a_lock,
)
from tests.integration.relay import relayed
from tests.support.waiting import until

TAKE_THE_LOCK = "select pg_advisory_xact_lock(lock_key) from factwire.log"
STORED_AND_TOLD = """
select sum(octet_length(f.document)) as stored, factwire.document_bytes_max(b.after, b.through) as told
  from (select a.position - 1 as after, u.position as through
          from factwire.facts a join factwire.facts u on u.position >= a.position) b
  join factwire.facts f on f.position > b.after and f.position <= b.through
 group by b.after, b.through
 order by b.through - b.after
"""
SOCKET_BUFFER_BYTES = 32 * 1024
LARGE = b'"' + b"x" * 400_000 + b'"'


async def test_a_process_that_stalls_while_it_sends_its_request_holds_no_lock(database_url: str) -> None:
    async with relayed(database_url) as (relay, stalling), connected(database_url) as [other]:
        await append(stalling, [([fact()], None)])
        relay.room = 256 * 1024
        call = asyncio.create_task(append(stalling, [([fact(payload=LARGE), fact(payload=LARGE)], None)]))
        async with asyncio.timeout(10):
            await relay.stalled.wait()
        assert await holders_of_the_lock(other) == 0
        await store(other, [fact()])
        relay.resumed.set()
        async with asyncio.timeout(10):
            assert (await call).head == 2


async def test_the_answer_to_the_largest_group_fits_into_the_buffer_of_a_socket(database_url: str) -> None:
    async with relayed(database_url) as (relay, connection):
        await append(connection, [([fact()], None)])
        before = relay.from_server_bytes
        appended = await append(
            connection, [([fact()], unless("-", epoch=EPOCH_MAX)) for _ in range(GROUP_REQUESTS_MAX)]
        )
        assert len(appended.refused) == GROUP_REQUESTS_MAX
        assert relay.from_server_bytes - before < SOCKET_BUFFER_BYTES


async def test_the_lock_is_held_until_the_transaction_ends(database_url: str) -> None:
    async with connected(database_url, 2) as [holder, other]:
        async with holder.transaction():
            await append(holder, [([fact()], None)])
            assert await holders_of_the_lock(other) == 1
        assert await holders_of_the_lock(other) == 0


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("query", [EVERYTHING, Query((new_item(types=["OrderPlaced"]),))], ids=["all", "one type"])
async def test_a_page_of_large_facts_stays_within_its_bound(database_url: str, query: Query, descending: bool) -> None:
    facts = [fact(payload=LARGE) for _ in range(8)]
    bounds = PageBounds()
    pages: list[list[str]] = []
    async with connected(database_url) as [connection]:
        await store(connection, facts)
        after, before = Position(0), Position(len(facts))
        while after < before:
            page = await read_page(
                connection, query, after=after, until=before, descending=descending, form=Form.LINES, bounds=bounds
            )
            assert len(page.body) <= bounds.bytes_max
            pages.append([line.split(b'"id":"')[1][:36].decode() for line in page.body.splitlines()])
            after, before = (after, page.through) if descending else (page.through, before)
    read = [id for page in pages for id in page]
    assert read == [str(id) for id in (reversed(ids_of(facts)) if descending else ids_of(facts))]
    assert max(map(len, pages)) == 2


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("query", [EVERYTHING, Query((new_item(types=["OrderPlaced"]),))], ids=["all", "one type"])
@pytest.mark.parametrize(
    "sizes", [[1] * 60 + [400_000] * 4, [2_000_000] + [1] * 60], ids=["large-behind", "large-first"]
)
async def test_a_page_is_cut_only_where_it_has_to_be(
    database_url: str, query: Query, descending: bool, sizes: list[int]
) -> None:
    if descending:
        sizes = sizes[::-1]
    facts = [fact(payload=b'"%b"' % (b"x" * size)) for size in sizes]
    async with connected(database_url) as [connection]:
        for each in facts:
            await store(connection, [each])
        page = await read_page(
            connection, query, after=Position(0), descending=descending, form=Form.LINES, bounds=PageBounds()
        )
    fitting = 62 if sizes.count(400_000) else 1
    assert page.facts == page.body.count(b"\n") == fitting
    assert page.through == (len(facts) - fitting if descending else fitting)


async def test_the_chain_never_tells_of_fewer_bytes_than_are_stored(database_url: str) -> None:
    async with connected(database_url) as [connection]:
        for sizes in ([1], [40_000, 3, 700], [2] * 31, [900_000], [5, 60_000]):
            await store(connection, [fact("taken", payload=b'"%b"' % (b"x" * size)) for size in sizes])
            refused = ([fact(payload=LARGE)], unless("taken"))
            await append(connection, [([fact()], None), refused, ([fact()], None)])
        ranges = await connection.fetch(STORED_AND_TOLD)
    assert len(ranges) == 48 * 49 // 2
    assert [row for row in ranges if row["told"] is None or row["told"] < row["stored"]] == []
    # Appends as they were cost nothing beyond their prefixes: the bound is of use.
    assert ranges[-1]["told"] < ranges[-1]["stored"] + 5 * len(LARGE) + 48 * 150


async def test_a_publish_that_is_cancelled_while_it_waits_is_never_written(database_url: str) -> None:
    async with opened_publisher(database_url) as publisher, connected(database_url, 2) as [holder, watcher]:
        async with holder.transaction():
            await holder.execute(TAKE_THE_LOCK)
            first, cancelled, last = fact(), fact(), fact()
            under_way = asyncio.create_task(publisher.publish([first]))
            await until(lambda: waiting_for_a_lock(watcher))
            waiting = [asyncio.create_task(publisher.publish([each])) for each in (cancelled, last)]
            await until(lambda: publisher.waiting == 3)
            waiting[0].cancel()
            await until(lambda: publisher.waiting == 2)
        async with asyncio.timeout(10):
            await asyncio.gather(under_way, waiting[1])
            await publisher.drain()
        assert await stored_ids(watcher) == [first.id, last.id]


async def test_a_publish_that_is_cancelled_under_way_leaves_the_publisher_at_work(database_url: str) -> None:
    async with opened_publisher(database_url) as publisher, connected(database_url, 2) as [holder, watcher]:
        async with holder.transaction():
            await holder.execute(TAKE_THE_LOCK)
            under_way = asyncio.create_task(publisher.publish([fact()]))
            await until(lambda: waiting_for_a_lock(watcher))
            under_way.cancel()
            await until(lambda: publisher.waiting == 0)
        async with asyncio.timeout(10):
            published = await publisher.publish([fact()])
        assert list(published.positions) == [2]


async def test_published_at_never_decreases_when_the_clock_steps_back(fresh_database_url: str) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)
    async with connected(fresh_database_url) as [connection]:
        await store(connection, [fact()])
        await connection.execute("set session_replication_role = replica")
        await connection.execute("update factwire.facts set published_at = $1", ahead)
        appended = await append(connection, [([fact()], None)])
        assert (appended.refused, appended.published_at) == ({}, utc(ahead))
