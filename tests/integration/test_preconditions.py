"""Preconditions: what the SQL decides is what the reference says, under the lock, without it, and beside others."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factwire.domain.condition import Condition, Precondition, Searched
from factwire.domain.errors import ConditionFailed, CursorForked, FactwireError
from factwire.domain.fact import NewFact
from factwire.domain.position import Cursor, Position
from factwire.domain.query import Item, new_item
from factwire.publish.batch import Published
from factwire.publish.publisher import Publisher
from factwire.store import append as appending
from factwire.store import condition_search
from factwire.store.append import Refusal, append
from factwire.store.condition_search import search
from factwire.store.connection import Connection
from tests.integration.damage import behind_the_back
from tests.integration.logs import CUT_THE_LOG, connected
from tests.integration.store import a_fact, append_alone, execute
from tests.integration.test_publishing import TWO_LONG_POSTING_LISTS, outcome, publishers
from tests.integration.test_query_arguments import facts, items

BOTH = new_item(aggregate_ids=["even", "odd"])
EVEN = new_item(aggregate_ids=["even"])
REGISTERED = new_item(types=["Registered"], aggregate_ids=["customer-7"])

preconditions = st.lists(st.tuples(items.filter(lambda item: item != Item()), st.booleans()), min_size=1, max_size=4)


def condition_of(*given: tuple[Item, bool, int], epoch: int = 0) -> Condition:
    return Condition(
        tuple(
            Precondition(item, Cursor(epoch, Position(after)), f"/{place}", must_match=must_match)
            for place, (item, must_match, after) in enumerate(given)
        )
    )


def needs(*items: Item) -> Condition:
    return condition_of(*((item, True, 0) for item in items))


def broken_by(condition: Condition, stored: list[NewFact], first: int) -> dict[int, set[int | None]]:
    """The places of the preconditions that do not hold, with the positions that a refusal may name."""
    broken: dict[int, set[int | None]] = {}
    for place, each in enumerate(condition.preconditions):
        matching = {
            first + index
            for index, fact in enumerate(stored)
            if first + index > each.cursor.position
            if each.item.matches(fact.namespace, fact.type, set(fact.tags))
        }
        if bool(matching) != each.must_match:
            broken[place] = set(matching) or {None}
    return broken


@pytest.mark.parametrize("searched", ["under the lock", "without the lock"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    published=st.lists(facts, min_size=1, max_size=12),
    asked=st.lists(preconditions, min_size=1, max_size=6),
    data=st.data(),
)
def test_each_precondition_is_decided_by_its_own_bound(
    database_url: str,
    searched: str,
    published: list[dict[str, object]],
    asked: list[list[tuple[Item, bool]]],
    data: st.DataObject,
) -> None:
    stored = [a_fact(**fact) for fact in published]
    bounds = st.integers(0, len(stored))
    given_bounds = [[data.draw(bounds) for _ in each] for each in asked]

    async def run() -> None:
        async with connected(database_url) as [connection]:
            head = await connection.fetchval("select factwire.head()")
            first = head + 1
            await append_alone(connection, *stored)
            for items_, afters in zip(asked, given_bounds, strict=True):
                condition = condition_of(
                    *((item, must, head + after) for (item, must), after in zip(items_, afters, strict=True))
                )
                await check(
                    connection, condition, broken_by(condition, stored, first), under_lock=searched == "under the lock"
                )

    asyncio.run(run())


async def check(
    connection: Connection, condition: Condition, broken: dict[int, set[int | None]], *, under_lock: bool
) -> None:
    """Decide a condition; without the lock, the call gets what the search found, as in the publisher."""
    if not under_lock:
        found = await search(connection, condition)
        if found.match is not None:
            assert found.match in broken[found.place]
            return
        condition = replace(condition, searched=tuple(found.searched))
    attempt = connection.transaction()
    await attempt.start()
    try:
        appended = await append(connection, [([a_fact()], condition)])
    finally:
        await attempt.rollback()
    if broken:
        refused = appended.refused[0]
        assert refused.refusal is Refusal.FAILED
        assert refused.position in broken[refused.place]
    else:
        assert not appended.refused


@pytest.mark.parametrize("slow", [False, True])
async def test_a_fact_that_an_earlier_request_of_the_call_brings_is_found(
    fresh_database_url: str, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both wait before the first call, and would go into it together."""
    if slow:
        monkeypatch.setattr(appending, "UNDER_LOCK_WORK_MAX", 1)
    async with publishers(fresh_database_url, 1) as (publisher,):
        for _ in range(20):
            outcomes = await at_once(
                publisher,
                ([a_fact(type="Registered", aggregate_ids=["customer-7"])], None),
                ([a_fact()], needs(REGISTERED)),
            )
            assert all(isinstance(each, Published) for each in outcomes), outcomes
            assert outcomes[0].cursor.position < outcomes[1].cursor.position  # type: ignore[union-attr]


async def at_once(
    publisher: Publisher, *requests: tuple[list[NewFact], Condition | None]
) -> list[Published | FactwireError]:
    """Submit requests in one turn of the loop; their outcomes, in the order in which they were submitted."""
    outcomes: dict[int, Published | FactwireError] = {}
    ended = asyncio.Event()

    def end(place: int, result: Published | FactwireError) -> None:
        outcomes[place] = result
        if len(outcomes) == len(requests):
            ended.set()

    for place, (facts_, condition) in enumerate(requests):
        publisher.submit(facts_, condition, lambda result, place=place: end(place, result))  # type: ignore[misc]
    await asyncio.wait_for(ended.wait(), 20)
    return [outcomes[place] for place in range(len(requests))]


async def test_a_needed_fact_is_found_behind_a_long_search(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is searched without the lock, in several statements, beside an item that nothing may match."""
    await execute(fresh_database_url, TWO_LONG_POSTING_LISTS)
    monkeypatch.setattr(condition_search, "WORK_MAX", 5_000)
    async with publishers(fresh_database_url, 1) as (publisher,):
        failed = await outcome(publisher, [a_fact()], needs(BOTH))
        assert isinstance(failed, ConditionFailed)
        assert (failed.members["position"], failed.members["item"]) == (None, "/0")
        both = await publisher.publish([a_fact(aggregate_ids=["even", "odd"])])
        holds = condition_of((BOTH, True, 0), (BOTH, False, both.cursor.position), (EVEN, True, 0))
        assert isinstance(await outcome(publisher, [a_fact()], holds), Published)
        fails = condition_of((BOTH, True, 0), (BOTH, False, 0))
        failed = await outcome(publisher, [a_fact()], fails)
        assert isinstance(failed, ConditionFailed)
        assert (failed.members["position"], failed.members["item"]) == (both.cursor.position, "/1")


async def test_a_fact_that_was_found_and_is_lost_satisfies_nothing(fresh_database_url: str) -> None:
    """History is replaced without notice between the search and the call: only the id shows it."""
    async with publishers(fresh_database_url, 1) as (publisher,), connected(fresh_database_url) as [connection]:
        await append_alone(connection, a_fact(), a_fact(type="Registered", aggregate_ids=["customer-7"]))
        found = await search(connection, needs(REGISTERED))
        [searched] = found.searched
        assert (searched.position, searched.found) == (2, True)
        condition = replace(needs(REGISTERED), searched=(searched,))
        assert isinstance(await outcome(publisher, [a_fact()], condition), Published)
        await execute(fresh_database_url, CUT_THE_LOG.format(after=1))
        await behind_the_back(connection, "delete from factwire.chain where last_position > 1")
        await append_alone(connection, a_fact(), a_fact())
        assert isinstance(await outcome(publisher, [a_fact()], condition), ConditionFailed)


@pytest.mark.parametrize(("position", "good"), [(1, True), (2, True), (3, False), (4, False)])
async def test_a_bound_of_an_older_epoch_is_good_up_to_every_fork_since(
    fresh_database_url: str, position: int, good: bool
) -> None:
    """Epoch 2 shares 3 positions with epoch 1, and epoch 3 shares 2 with epoch 2."""
    async with publishers(fresh_database_url, 1) as (publisher,), connected(fresh_database_url) as [connection]:
        await append_alone(connection, *[a_fact() for _ in range(5)])
        await connection.execute("update factwire.log set epoch = 3")
        await connection.execute("insert into factwire.epochs (epoch, forked_after) values (2, 3), (3, 2)")
        item = new_item(aggregate_ids=["order-1"])
        for condition in (
            condition_of((item, False, position), epoch=1),
            replace(
                condition_of((item, False, 0)),
                searched=(Searched(1, Position(position), await id_at(connection, position)),),
            ),
        ):
            result = await outcome(publisher, [a_fact()], condition)
            if good or condition.searched:  # what was searched in another history is searched again
                assert isinstance(result, Published)
            else:
                assert isinstance(result, CursorForked)
                assert result.members == {"epoch": 3, "forked_after": 2}


async def id_at(connection: Connection, position: int) -> str:
    return str(await connection.fetchval("select id from factwire.facts where position = $1", position))


async def test_a_thousand_items_are_decided_in_one_publish(fresh_database_url: str) -> None:
    """All have the tag that every fact has, so that each of them must be walked."""
    async with publishers(fresh_database_url, 1) as (publisher,):
        await publisher.publish([a_fact(aggregate_ids=["hot"]) for _ in range(300)])
        walked = [new_item(aggregate_ids=["hot", f"a{n}"]) for n in range(998)]
        condition = condition_of(*((item, False, 0) for item in walked), (new_item(aggregate_ids=["hot"]), True, 0))
        assert isinstance(await outcome(publisher, [a_fact(aggregate_ids=["hot", "a997"])], condition), Published)
        failed = await outcome(publisher, [a_fact()], condition)
        assert isinstance(failed, ConditionFailed)
        assert failed.members["item"] == "/997"
