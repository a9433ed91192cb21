"""P4, P5, P6: batches, retries and conditions through the publishers of two processes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest

from factwire.domain.condition import Condition, fail_if_match
from factwire.domain.errors import (
    ConditionFailed,
    CursorAhead,
    CursorForked,
    FactIdConflict,
    FactwireError,
    Unavailable,
)
from factwire.domain.fact import NewFact
from factwire.domain.position import EPOCH_MAX, Cursor, Position
from factwire.domain.query import Item, Query, new_item
from factwire.publish.batch import Published
from factwire.publish.publisher import Publisher
from factwire.store import append
from tests.integration.store import a_fact, execute, opened, read_ids

# 12 000 postings each and no common fact: more than a condition may visit under the lock.
TWO_LONG_POSTING_LISTS = """
set session_replication_role = replica;
insert into factwire.facts
select n, gen_random_uuid(), clock_timestamp(), 'shop', 'T', 1, convert_to('"id":""}}', 'UTF8')
  from generate_series(1, 24000) n;
insert into factwire.fact_tags
select l.list, f.position
  from factwire.facts f
 cross join lateral unnest(array[
         case when f.position % 2 = 0 then 'a:even' else 'a:odd' end || e'\\x1dshop', 't:T', e't:T\\x1dshop', 'n:shop'
       ]) l (list);
"""


@asynccontextmanager
async def publishers(url: str, count: int = 2, **changes: object) -> AsyncIterator[list[Publisher]]:
    settings = {
        "wait_seconds": 20.0,
        "waiting_requests_max": 10_000,
        "waiting_bytes_max": 2**28,
        "condition_seconds": 10.0,
    } | changes
    async with AsyncExitStack() as stack:
        databases = [await stack.enter_async_context(opened(url)) for _ in range(count)]
        made = [Publisher(database, **settings) for database in databases]  # type: ignore[arg-type]
        tasks = [asyncio.create_task(publisher.run()) for publisher in made]
        yield made
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def unless(*items: Item, after: int = 0, epoch: int = 0) -> Condition:
    return fail_if_match(Query(items), Cursor(epoch, Position(after)))


async def outcome(
    publisher: Publisher, facts: Sequence[NewFact], condition: Condition | None = None, *, tenant: str = ""
) -> Published | Exception:
    try:
        return await publisher.publish(facts, condition, tenant=tenant)
    except FactwireError as error:
        return error


async def test_a_batch_takes_consecutive_positions_beside_many_others(fresh_database_url: str) -> None:
    async with publishers(fresh_database_url) as both:
        batches = [[a_fact() for _ in range(1 + n % 7)] for n in range(60)]
        published = await asyncio.gather(*(both[n % 2].publish(batch) for n, batch in enumerate(batches)))
    for batch, each in zip(batches, published, strict=True):
        assert list(each.positions) == list(range(each.positions[0], each.positions[0] + len(batch)))
    positions = sorted(position for each in published for position in each.positions)
    assert positions == list(range(1, len(positions) + 1))


@pytest.mark.parametrize(
    "item",
    [
        new_item(aggregate_ids=["seat-1"]),
        new_item(types=["SeatTaken"]),
        new_item(namespaces=["shop"], aggregate_ids=["seat-1", "room-1"]),
        new_item(meta=[("seat", "1")]),
    ],
    ids=["tag", "type", "tags-and-namespace", "meta"],
)
async def test_of_conditions_that_exclude_each_other_exactly_one_wins(fresh_database_url: str, item: Item) -> None:
    async with publishers(fresh_database_url) as both:
        for round in range(5):
            head = round
            taken = [
                a_fact(type="SeatTaken", aggregate_ids=["seat-1", "room-1"], meta={"seat": "1"}) for _ in range(24)
            ]
            outcomes = await asyncio.gather(
                *(outcome(both[n % 2], [fact], unless(item, after=head)) for n, fact in enumerate(taken))
            )
            winners = [each for each in outcomes if isinstance(each, Published)]
            losers = [each for each in outcomes if isinstance(each, ConditionFailed)]
            assert (len(winners), len(losers)) == (1, 23)
            assert {loser.members["position"] for loser in losers} == {winners[0].cursor.position}
            assert {loser.members["id"] for loser in losers} == {str(winners[0].ids[0])}


async def test_a_retry_beside_its_original_gets_the_same_positions(fresh_database_url: str) -> None:
    async with publishers(fresh_database_url) as both:
        for _ in range(20):
            batch = [a_fact(), a_fact()]
            answers = await asyncio.gather(*(both[n % 2].publish(batch) for n in range(6)))
            assert len({tuple(answer.positions) for answer in answers}) == 1
            assert sorted(answer.replayed for answer in answers) == [False] + [True] * 5


async def test_a_retried_conditional_publish_finds_itself(fresh_database_url: str) -> None:
    async with publishers(fresh_database_url, 1) as (publisher,):
        fact = a_fact(aggregate_ids=["order-1"])
        condition = unless(new_item(aggregate_ids=["order-1"]))
        first = await publisher.publish([fact], condition)
        again = await publisher.publish([fact], condition)
    assert (again.replayed, list(again.positions)) == (True, list(first.positions))


async def test_other_content_or_a_part_of_known_ids_is_a_conflict_and_writes_nothing(fresh_database_url: str) -> None:
    async with publishers(fresh_database_url, 1) as (publisher,), opened(fresh_database_url) as database:
        fact = a_fact()
        await publisher.publish([fact])
        other = a_fact(id=fact.id, payload=b"2")
        for facts in ([other], [fact, a_fact()], [a_fact(), other]):
            with pytest.raises(FactIdConflict) as conflict:
                await publisher.publish(facts)
            assert conflict.value.members["ids"] == [str(fact.id)]
        async with database.read() as connection:
            assert await read_ids(connection) == [fact.id]


async def test_a_failing_request_does_not_touch_the_others_of_its_group(fresh_database_url: str) -> None:
    async with publishers(fresh_database_url, 1) as (publisher,):
        known = a_fact(aggregate_ids=["order-1"])
        await publisher.publish([known])
        outcomes = await asyncio.gather(
            outcome(publisher, [a_fact()], unless(new_item(aggregate_ids=["order-1"]))),
            outcome(publisher, [a_fact(id=known.id, payload=b"2")]),
            outcome(publisher, [a_fact()], unless(new_item(aggregate_ids=["order-2"]), epoch=EPOCH_MAX)),
            outcome(publisher, [a_fact()], unless(new_item(aggregate_ids=["order-2"]), after=99)),
            *(outcome(publisher, [a_fact()]) for _ in range(5)),
        )
    assert [type(each) for each in outcomes] == [ConditionFailed, FactIdConflict, CursorForked, CursorAhead] + [
        Published
    ] * 5


async def test_facts_published_in_order_stop_at_the_first_conflict(fresh_database_url: str) -> None:
    async with publishers(fresh_database_url, 1) as (publisher,), opened(fresh_database_url) as database:
        known, fresh, behind = a_fact(), a_fact(), a_fact()
        await publisher.publish([known])
        outcomes = await publisher.publish_in_order([fresh, a_fact(id=known.id, payload=b"2"), behind])
        assert [type(each) for each in outcomes] == [Published, FactIdConflict]
        async with database.read() as connection:
            assert await read_ids(connection) == [known.id, fresh.id]


async def test_an_expensive_condition_leaves_the_lock_to_the_others(fresh_database_url: str) -> None:
    """It is decided outside, in the right way, while another transaction holds the lock."""
    await execute(fresh_database_url, TWO_LONG_POSTING_LISTS)
    condition = unless(new_item(aggregate_ids=["even", "odd"]))
    async with publishers(fresh_database_url, 1) as (publisher,), opened(fresh_database_url) as database:
        async with database.append.connection() as connection:
            under_lock = await append.append(connection, [([a_fact()], condition)])
        assert under_lock.refused[0].refusal is append.Refusal.SLOW
        assert isinstance(await outcome(publisher, [a_fact()], condition), Published)
        both = a_fact(aggregate_ids=["even", "odd"])
        await publisher.publish([both])
        failed = await outcome(publisher, [a_fact()], condition)
    assert isinstance(failed, ConditionFailed)
    assert failed.members["id"] == str(both.id)


async def test_an_expensive_condition_still_excludes_what_comes_meanwhile(fresh_database_url: str) -> None:
    await execute(fresh_database_url, TWO_LONG_POSTING_LISTS)
    condition = unless(new_item(aggregate_ids=["even", "odd"]))
    async with publishers(fresh_database_url) as both:
        taken = [a_fact(aggregate_ids=["even", "odd"]) for _ in range(12)]
        outcomes = await asyncio.gather(*(outcome(both[n % 2], [fact], condition) for n, fact in enumerate(taken)))
    assert sum(isinstance(each, Published) for each in outcomes) == 1
    assert sum(isinstance(each, ConditionFailed) for each in outcomes) == 11


# A condition about this aggregate takes longer than its call may.
SLOW_CONDITIONS = """
alter function factwire.check_conditions rename to check_conditions_quickly;
create function factwire.check_conditions(
  p_requests integer[], p_afters bigint[], p_scopes text[], p_types text[], p_tags text[], p_until bigint,
  p_work_max integer, p_deadline timestamptz)
  returns table (request integer, outcome text, "position" bigint, place integer)
language plpgsql as $$
begin
  if 'a:slow' = any (p_tags) then perform pg_sleep(30); end if;
  return query select * from factwire.check_conditions_quickly(
    p_requests, p_afters, p_scopes, p_types, p_tags, p_until, p_work_max, p_deadline);
end
$$
"""


async def test_a_call_that_takes_too_long_is_the_failure_of_its_condition_alone(fresh_database_url: str) -> None:
    await execute(fresh_database_url, SLOW_CONDITIONS)
    async with opened(fresh_database_url, append_seconds=1) as database:
        publisher = Publisher(
            database, wait_seconds=20, waiting_requests_max=100, waiting_bytes_max=2**28, condition_seconds=10
        )
        running = asyncio.create_task(publisher.run())
        slow = unless(new_item(aggregate_ids=["slow"], types=["Any"]))
        quick = unless(new_item(aggregate_ids=["quick"]))
        outcomes = await asyncio.gather(
            outcome(publisher, [a_fact()], slow, tenant="a"),
            *(outcome(publisher, [a_fact()], tenant=f"t{number}") for number in range(5)),
            outcome(publisher, [a_fact()], quick, tenant="b"),
        )
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [type(each) for each in outcomes] == [Unavailable] + [Published] * 6


async def test_waiting_publishes_are_bounded(fresh_database_url: str) -> None:
    async with publishers(fresh_database_url, 1, waiting_requests_max=8) as (publisher,):
        outcomes = await asyncio.gather(*(outcome(publisher, [a_fact()], tenant=f"t{n % 3}") for n in range(12)))
    assert [type(each) for each in outcomes] == [Published] * 8 + [Unavailable] * 4


async def test_one_tenant_waits_in_half_of_the_places(fresh_database_url: str) -> None:
    async with publishers(fresh_database_url, 1, waiting_requests_max=8) as (publisher,):
        flood = [outcome(publisher, [a_fact()], tenant="flood") for _ in range(8)]
        outcomes = await asyncio.gather(*flood, outcome(publisher, [a_fact()], tenant="other"))
    assert [type(each) for each in outcomes] == [Published] * 4 + [Unavailable] * 4 + [Published]


async def test_a_publish_that_waits_too_long_for_the_lock_is_certainly_not_written(fresh_database_url: str) -> None:
    holder = await asyncpg.connect(fresh_database_url)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("select pg_advisory_xact_lock(lock_key) from factwire.log")
    fact = a_fact(id=str(uuid4()))
    async with publishers(fresh_database_url, 1) as (publisher,):
        refused = await outcome(publisher, [fact])
        assert isinstance(refused, Unavailable)
        await transaction.rollback()
        assert not (await publisher.publish([fact])).replayed
    await holder.close()
