"""Conditions that take long: decided outside the lock, item by item, and begun anew where history was replaced."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import asyncpg
import pytest

from factwire.domain.condition import Condition, Searched, fail_if_match
from factwire.domain.errors import ConditionFailed, ConditionTooExpensive
from factwire.domain.position import START, Cursor, Position
from factwire.domain.query import Item, Query, new_item
from factwire.publish import refusals as refusing
from factwire.publish.batch import Published
from factwire.store import append as appending
from factwire.store import condition_search
from factwire.store.append import Refusal, append
from factwire.store.condition_search import search
from factwire.store.connection import Connection
from tests.integration.damage import behind_the_back
from tests.integration.logs import CUT_THE_LOG, connected
from tests.integration.store import a_fact, append_alone, execute
from tests.integration.test_publishing import TWO_LONG_POSTING_LISTS, outcome, publishers, unless

BOTH = new_item(aggregate_ids=["even", "odd"])
NEVER = new_item(aggregate_ids=["never"])


def searched_to(position: int, id: str | None, *items: Item) -> Condition:
    """A condition whose first item is searched up to a position, where a fact with an id stands."""
    others = [None] * (len(items) - 1)
    return replace(fail_if_match(Query(items)), searched=(Searched(1, Position(position), id), *others))


async def refusals(connection: Connection, condition: Condition) -> list[appending.RefusedRequest]:
    appended = await append(connection, [([a_fact()], None), ([a_fact()], condition), ([a_fact()], None)])
    return list(appended.refused.values())


async def test_what_was_searched_without_the_lock_is_not_searched_again_under_it(fresh_database_url: str) -> None:
    await execute(fresh_database_url, TWO_LONG_POSTING_LISTS)
    async with connected(fresh_database_url) as [connection]:
        (slow,) = await refusals(connection, fail_if_match(Query((NEVER, BOTH, BOTH)), Cursor(0, START)))
        assert (slow.refusal, slow.place) == (Refusal.SLOW, 1)
        assert slow.position is not None
        assert 0 < slow.position < 24_000
        last = await connection.fetchval("select id from factwire.facts where position = 24000")
        assert await refusals(connection, searched_to(24_000, str(last), BOTH)) == []
        both = await append_alone(connection, a_fact(aggregate_ids=["even", "odd"]))
        (failed,) = await refusals(connection, searched_to(24_000, str(last), BOTH))
        assert (failed.refusal, failed.position) == (Refusal.FAILED, both)


async def test_a_search_counts_for_nothing_where_another_fact_stands_at_its_end(fresh_database_url: str) -> None:
    async with connected(fresh_database_url) as [connection]:
        await append_alone(connection, a_fact(aggregate_ids=["order-1"]), a_fact())
        order = new_item(aggregate_ids=["order-1"])
        replaced = searched_to(2, str(uuid4()), order)
        (refused,) = await refusals(connection, replaced)
        assert refused.refusal is Refusal.RESTARTED
        (refused,) = await refusals(connection, searched_to(1, str(uuid4()), NEVER))
        assert refused.refusal is Refusal.RESTARTED
        assert await refusals(connection, searched_to(0, None, NEVER)) == []


async def test_a_publish_starts_its_search_over_where_history_was_replaced_unnoticed(fresh_database_url: str) -> None:
    """A fork that nobody announced keeps the epoch: what was searched says nothing of what stands there now."""
    async with publishers(fresh_database_url, 1) as (publisher,), connected(fresh_database_url) as [connection]:
        await append_alone(connection, a_fact(), a_fact(), a_fact())
        seen = str(await connection.fetchval("select id from factwire.facts where position = 3"))
        condition = searched_to(3, seen, new_item(aggregate_ids=["order-1"]))
        assert isinstance(await outcome(publisher, [a_fact()], condition), Published)
        await execute(fresh_database_url, CUT_THE_LOG.format(after=2))
        await behind_the_back(connection, "delete from factwire.chain where last_position > 2")
        await append_alone(connection, a_fact(aggregate_ids=["order-1"]), a_fact())
        failed = await outcome(publisher, [a_fact()], condition)
    assert isinstance(failed, ConditionFailed)
    assert failed.members["position"] == 3


@pytest.mark.parametrize("announced", [False, True])
async def test_a_search_goes_on_from_nothing_that_was_searched_in_another_history(
    fresh_database_url: str, announced: bool
) -> None:
    """History is lost and replaced between two statements of one search."""
    async with connected(fresh_database_url) as [connection]:
        await append_alone(connection, *[a_fact() for _ in range(5)])
        condition = unless(new_item(aggregate_ids=["order-1"]))
        first = await search(connection, condition)
        assert [each.position for each in first.searched] == [5]
        await execute(fresh_database_url, CUT_THE_LOG.format(after=2))
        await behind_the_back(connection, "delete from factwire.chain where last_position > 2")
        if announced:
            await connection.execute("update factwire.log set epoch = 2")
            await connection.execute("insert into factwire.epochs (epoch, forked_after) values (2, 2)")
        await append_alone(connection, a_fact(aggregate_ids=["order-1"]), *[a_fact() for _ in range(6)])
        second = await search(connection, replace(condition, searched=tuple(first.searched)))
        assert (second.match, list(second.searched)) == (None, [])
        third = await search(connection, replace(condition, searched=tuple(second.searched)))
        assert third.match == 3


async def test_a_condition_by_position_alone_is_decided_though_the_epoch_was_raised_meanwhile(
    fresh_database_url: str,
) -> None:
    async with publishers(fresh_database_url, 1) as (publisher,), connected(fresh_database_url) as [connection]:
        await append_alone(connection, a_fact(), a_fact())
        last = str(await connection.fetchval("select id from factwire.facts where position = 2"))
        await connection.execute("update factwire.log set epoch = 2")
        await connection.execute("insert into factwire.epochs (epoch, forked_after) values (2, 2)")
        assert isinstance(await outcome(publisher, [a_fact()], searched_to(2, last, NEVER)), Published)


async def test_a_condition_of_many_slow_items_is_decided_while_others_publish(fresh_database_url: str) -> None:
    await execute(fresh_database_url, TWO_LONG_POSTING_LISTS)
    items = [new_item(aggregate_ids=["even", "odd"], types=[f"T{n}", "T"]) for n in range(6)]
    condition = unless(*items)
    async with publishers(fresh_database_url, wait_seconds=30) as (publisher, other):
        publishing = asyncio.create_task(keep_publishing(other))
        assert isinstance(await outcome(publisher, [a_fact()], condition), Published)
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)


@pytest.mark.parametrize("items", [[(40, 32)], [(8, 32)], [(198, 4)]], ids=str)
async def test_a_condition_that_was_searched_is_decided_though_some_facts_came_since(
    fresh_database_url: str, items: list[tuple[int, int]]
) -> None:
    """Its tags stand in 20 namespaces; what came has none of them."""
    ((tags, count),) = items
    names = [f"a{n}" for n in range(min(tags, 100))]
    meta = [("k", f"v{n}") for n in range(tags - len(names))]
    async with connected(fresh_database_url) as [connection]:
        for number in range(20):
            facts = [
                a_fact(namespace=f"n{number}", aggregate_ids=names[start : start + 32])
                for start in range(0, len(names), 32)
            ]
            facts += [a_fact(namespace=f"n{number}", meta={"k": [value]}) for _, value in meta]
            await append_alone(connection, *facts)
        head = await connection.fetchval("select factwire.head()")
        id = str(await connection.fetchval("select id from factwire.facts order by position desc limit 1"))
        condition = searched_to(head, id, *[new_item(aggregate_ids=names, meta=meta)] * count)
        condition = replace(condition, searched=condition.searched[:1] * count)
        await append_alone(connection, *[a_fact(namespace="noise") for _ in range(150)])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(appending, "UNDER_LOCK_SECONDS", 10.0)
            assert await refusals(connection, condition) == []


async def test_choosing_is_no_more_work_than_going_through_the_log(fresh_database_url: str) -> None:
    """An item of many tags, each in many namespaces, on a log of few facts."""
    names, meta = [f"a{n}" for n in range(100)], [("k", f"v{n}") for n in range(60)]
    async with connected(fresh_database_url) as [connection]:
        for number in range(95):
            place = f"n{number:02}"
            parts = [
                a_fact(namespace=place, aggregate_ids=names[s : s + 25], meta={"k": [v for _, v in meta]})
                for s in (0, 25, 50, 75)
            ]
            await append_alone(connection, *parts)
        found = await search(connection, unless(new_item(aggregate_ids=names, meta=meta)))
        assert found.match is None
        assert [each.position for each in found.searched] == [found.head]


async def keep_publishing(publisher: object) -> None:
    while True:
        await publisher.publish([a_fact(aggregate_ids=["even"])])  # type: ignore[attr-defined]


async def test_conditions_that_exclude_each_other_let_one_through_however_they_are_searched(
    fresh_database_url: str,
) -> None:
    await execute(fresh_database_url, TWO_LONG_POSTING_LISTS)
    conditions = [
        unless(BOTH),
        unless(NEVER, BOTH),
        unless(BOTH, NEVER),
        unless(replace(BOTH, types=("T", "OrderPlaced"))),
    ]
    async with publishers(fresh_database_url) as both:
        fact = [a_fact(aggregate_ids=["even", "odd", "never"]) for _ in range(12)]
        outcomes = await asyncio.gather(
            *(outcome(both[n % 2], [each], conditions[n % 4], tenant=f"t{n % 3}") for n, each in enumerate(fact))
        )
    assert sum(isinstance(each, Published) for each in outcomes) == 1
    assert sum(isinstance(each, ConditionFailed) for each in outcomes) == 11


async def test_waiting_for_a_turn_to_search_is_no_expense_of_the_condition(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor where the search takes several statements, each of which waits for its turn."""
    monkeypatch.setattr(condition_search, "WORK_MAX", 2_000)
    await execute(fresh_database_url, TWO_LONG_POSTING_LISTS)
    async with publishers(fresh_database_url, 1, wait_seconds=60, condition_seconds=2) as (publisher,):
        turns = publisher._refusals._slow
        async with turns.turn("others"), turns.turn("still others"):
            waiting = asyncio.create_task(outcome(publisher, [a_fact()], unless(BOTH)))
            await asyncio.sleep(2.5)
            assert not waiting.done()
        assert isinstance(await waiting, Published)


async def test_a_condition_that_takes_longer_than_it_may_is_too_expensive(fresh_database_url: str) -> None:
    await execute(fresh_database_url, TWO_LONG_POSTING_LISTS)
    async with publishers(fresh_database_url, 1, condition_seconds=0.0, wait_seconds=60) as (publisher,):
        long = unless(BOTH)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(condition_search, "WORK_MAX", 10)
            refused = await outcome(publisher, [a_fact()], long)
    assert isinstance(refused, ConditionTooExpensive)


async def test_a_call_ends_in_time_whatever_its_conditions_are(fresh_database_url: str) -> None:
    """The clock is looked at, not only what is counted."""
    await execute(fresh_database_url, TWO_LONG_POSTING_LISTS)
    connection = await asyncpg.connect(fresh_database_url)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(appending, "UNDER_LOCK_WORK_MAX", 10_000_000)
            patch.setattr(appending, "UNDER_LOCK_SECONDS", 0.0)
            (refused,) = await refusals(connection, unless(BOTH))
        assert refused.refusal is Refusal.SLOW
    finally:
        await connection.close()


OWN_FACT, OTHER_FACT, NOTHING = "its own fact", "another fact", "nothing"


@pytest.mark.parametrize("matching", [OWN_FACT, OTHER_FACT, NOTHING])
async def test_a_retry_is_one_though_it_was_stored_while_its_condition_was_searched(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch, matching: str
) -> None:
    """The attempt before is stored meanwhile: its fact matches the condition, or another one, or it takes too long."""
    await execute(fresh_database_url, TWO_LONG_POSTING_LISTS)
    own = a_fact(aggregate_ids=["even", "odd"] if matching == OWN_FACT else ["own"])
    stored: list[Position] = []

    async def search_late(connection: Connection, condition: Condition) -> object:
        if not stored:
            async with connected(fresh_database_url) as [other]:
                stored.append(await append_alone(other, own))
                if matching == OTHER_FACT:
                    await append_alone(other, a_fact(aggregate_ids=["even", "odd"]))
        return await search(connection, condition)

    monkeypatch.setattr(refusing, "search", search_late)
    if matching == NOTHING:
        monkeypatch.setattr(condition_search, "WORK_MAX", 10)
    seconds = 0.0 if matching == NOTHING else 10.0
    async with publishers(fresh_database_url, 1, condition_seconds=seconds, wait_seconds=60) as (publisher,):
        published = await outcome(publisher, [own], unless(BOTH))
    assert isinstance(published, Published), published
    assert (list(published.positions), published.replayed) == (stored, True)
