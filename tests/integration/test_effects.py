"""Effects that write: with their facts or not at all, and once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from factwire.domain.audit import audit_fact
from factwire.domain.effect import Effect, RecordedExpiry
from factwire.domain.errors import ConditionFailed, EffectVoid, JobLeaseLost
from factwire.domain.fact import NewFact
from factwire.domain.query import new_item
from factwire.jobs.key_expiries import KeyExpiries
from factwire.publish.batch import Published
from factwire.publish.publisher import DEFERRED_SECONDS
from factwire.store import append as appending
from factwire.store.append import Appended, CatalogueLimits, Refusal, append
from factwire.store.connection import Connection
from factwire.store.job_leases import release_lease, take_lease
from tests.integration.logs import connected
from tests.integration.store import a_fact, opened
from tests.integration.test_publishing import publishers, unless

CREATE_KEY = "insert into factwire.keys (id, name, grants, expires_at) values ($1, 'k', '{}', $2)"
CHANGES = {
    "revoked": "update factwire.keys set revoked_at = now()",
    "recorded": "update factwire.keys set expiry_recorded_at = now()",
}
RECORDS = "select type, namespace, convert_from(document, 'UTF8') d from factwire.facts where type = 'KeyExpired'"
RECORDED_AT = "select expiry_recorded_at from factwire.keys where id = $1"
RECORDED = """
select f.published_at = k.expiry_recorded_at and k.expiry_recorded_at is not null
  from factwire.facts f, factwire.keys k where f.id = $1 and k.id = $2
"""


async def create_key(connection: Connection, id: str, *, expires_in: float = -1) -> RecordedExpiry:
    await connection.execute(CREATE_KEY, id, datetime.now(UTC) + timedelta(seconds=expires_in))
    return RecordedExpiry(id)


def audit(type: str, key_id: str) -> NewFact:
    return audit_fact(type, id=str(uuid4()), by="tests", about=f"key:{key_id}", payload={})


async def is_recorded(connection: Connection, id: str) -> bool:
    return await connection.fetchval(RECORDED_AT, id) is not None


async def test_an_effect_is_written_with_its_facts_and_at_their_time(fresh_database_url: str) -> None:
    async with connected(fresh_database_url) as [connection], publishers(fresh_database_url, 1) as (publisher,):
        effect = await create_key(connection, "a")
        published = await publisher.publish([a_fact()], effects=[effect])
        assert await connection.fetchval(RECORDED, published.ids[0], "a")


async def test_requests_of_one_call_have_each_its_own_effects(fresh_database_url: str) -> None:
    async with connected(fresh_database_url) as [connection]:
        await append(connection, [([a_fact(aggregate_ids=["x"])], None)])
        first, second, third = [await create_key(connection, id) for id in "abc"]
        refused = unless(new_item(aggregate_ids=["x"]))
        requests = [([a_fact()], None), ([a_fact()], refused), ([a_fact()], None), ([a_fact()], None)]
        appended = await append(connection, requests, effects=[(first,), (second,), (), (third,)])
        assert {place: each.refusal for place, each in appended.refused.items()} == {1: Refusal.FAILED}
        assert [await is_recorded(connection, id) for id in "abc"] == [True, False, True]


@pytest.mark.parametrize("refused_by", ["condition", "lease", "other effect"])
async def test_a_refused_request_leaves_no_effect(fresh_database_url: str, refused_by: str) -> None:
    async with connected(fresh_database_url) as [connection], publishers(fresh_database_url, 1) as (publisher,):
        effect = await create_key(connection, "a")
        lease = await take_lease(connection, "job", seconds=30)
        assert lease is not None
        if refused_by == "lease":
            await release_lease(connection, lease)
        await publisher.publish([a_fact(aggregate_ids=["x"])])
        condition = unless(new_item(aggregate_ids=["x"])) if refused_by == "condition" else None
        effects: list[Effect] = [effect, lease.held]
        if refused_by == "other effect":
            effects.append(await create_key(connection, "b", expires_in=3600))
        with pytest.raises((ConditionFailed, JobLeaseLost, EffectVoid)):
            await publisher.publish([a_fact()], condition, effects=effects)
        assert not await is_recorded(connection, "a")
        assert await connection.fetchval("select count(*) from factwire.facts") == 1


async def test_a_retry_applies_no_effect_twice(fresh_database_url: str) -> None:
    async with connected(fresh_database_url) as [connection], publishers(fresh_database_url, 1) as (publisher,):
        effect = await create_key(connection, "a")
        fact = a_fact()
        await publisher.publish([fact], effects=[effect])
        await connection.execute("update factwire.keys set expiry_recorded_at = null")
        assert (await publisher.publish([fact], effects=[effect])).replayed
        assert not await is_recorded(connection, "a")


async def test_a_deferred_effect_is_written_by_a_later_call_and_holds_up_nobody(fresh_database_url: str) -> None:
    async with connected(fresh_database_url, 2) as [locking, looking], publishers(fresh_database_url, 1) as (each,):
        effect = await create_key(locking, "a")
        transaction = locking.transaction()
        await transaction.start()
        await locking.execute("select from factwire.keys for update")
        deferred = asyncio.create_task(each.publish([a_fact()], effects=[effect]))
        for _ in range(20):
            assert isinstance(await each.publish([a_fact()]), Published)
        assert not deferred.done()
        assert not await is_recorded(looking, "a")
        await transaction.rollback()
        published = await deferred
        assert await looking.fetchval(RECORDED, published.ids[0], "a")


async def test_of_requests_with_the_same_effect_in_one_group_one_is_written(fresh_database_url: str) -> None:
    async with connected(fresh_database_url) as [connection], publishers(fresh_database_url, 1) as (publisher,):
        effect = await create_key(connection, "a")
        attempts = [publisher.publish([a_fact()], effects=[effect]) for _ in range(4)]
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["EffectVoid"] * 3 + ["Published"]


async def test_a_deferred_request_asks_at_intervals(fresh_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone in its calls, it would take the lock of the log all the time."""
    async with connected(fresh_database_url) as [locking], publishers(fresh_database_url, 1) as (publisher,):
        effect = await create_key(locking, "a")
        calls = 0
        call = appending.append

        async def counted(*arguments: Any, **options: Any) -> Appended:
            nonlocal calls
            calls += 1
            return await call(*arguments, **options)

        monkeypatch.setattr(appending, "append", counted)
        transaction = locking.transaction()
        await transaction.start()
        await locking.execute("select from factwire.keys for update")
        deferred = asyncio.create_task(publisher.publish([a_fact()], effects=[effect]))
        for _ in range(20):
            await asyncio.sleep(DEFERRED_SECONDS)
        await transaction.rollback()
        await deferred
        assert 1 < calls <= 60  # without a pause: hundreds


@pytest.mark.parametrize("state", ["revoked", "recorded", "valid", "unknown"])
async def test_what_has_no_object_any_more_is_not_published(fresh_database_url: str, state: str) -> None:
    async with connected(fresh_database_url) as [connection], publishers(fresh_database_url, 1) as (publisher,):
        effect = await create_key(connection, "a", expires_in=3600 if state == "valid" else -1)
        if state in CHANGES:
            await connection.execute(CHANGES[state])
        with pytest.raises(EffectVoid):
            await publisher.publish([a_fact()], effects=[RecordedExpiry("b") if state == "unknown" else effect])
        assert await connection.fetchval("select count(*) from factwire.facts") == 0


async def test_each_expiry_is_recorded_once_however_many_processes_try(fresh_database_url: str) -> None:
    ids = [f"k{n}" for n in range(20)]
    # The reserved namespace may have more types than others.
    async with (
        connected(fresh_database_url) as [connection],
        publishers(fresh_database_url, 3, limits=CatalogueLimits(1, 1)) as each,
        opened(fresh_database_url) as pools,
    ):
        for n, id in enumerate(ids):
            await create_key(connection, id, expires_in=-1 - n)
        await create_key(connection, "valid", expires_in=3600)
        await append(connection, [([audit("KeyCreated", "k0"), audit("KeyRotated", "k0")], None)])
        jobs = [KeyExpiries(pools, publisher) for publisher in each]
        while not all([await is_recorded(connection, id) for id in ids]):
            await asyncio.gather(*(job.record() for job in jobs))
        about = await connection.fetch(RECORDS)
        assert {(row["type"], row["namespace"]) for row in about} == {("KeyExpired", "factwire")}
        assert sorted(id for row in about for id in ids if f'"key:{id}"' in row["d"]) == sorted(ids)
        assert not await is_recorded(connection, "valid")
