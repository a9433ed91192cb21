"""Plain appends: what nothing can refuse takes a shorter way, and leaves the same log."""

import random
from typing import Any

import asyncpg
import pytest

from factwire.domain.fact import NewFact
from factwire.domain.position import Position
from factwire.store import append as appending
from factwire.store.append import CatalogueLimits, Refusal, Witness, append, is_forked
from factwire.store.connection import Connection
from tests.integration.logs import connected
from tests.integration.store import a_fact, append_alone

LOG = {
    "facts": "select position, id, namespace, type, version, document, published_at from factwire.facts order by 1",
    "ids": "select id, position, digest from factwire.fact_ids order by 2",
    "tags": "select tag, position, earlier from factwire.fact_tags order by 1, 2",
    "chain": "select last_position, first_position, bytes_so_far from factwire.chain order by 1",
    "types": "select namespace, type, version from factwire.types order by 1, 2, 3",
}


def plain_fact(**changes: Any) -> NewFact:
    return a_fact(chosen_id=False, **changes)


async def log_of(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """All that is stored, but for times."""
    stored = {name: [tuple(row) for row in await connection.fetch(query)] for name, query in LOG.items()}
    stored["facts"] = [
        (*fact, document.replace(f"{published_at:%Y-%m-%dT%H:%M:%S.%f}Z".encode(), b"?"))
        for *fact, document, published_at in stored["facts"]
    ]
    return stored


def some_requests(chosen: random.Random) -> list[list[NewFact]]:
    return [
        [
            plain_fact(
                namespace=chosen.choice(["shop", "bank"]),
                type=chosen.choice("ABC"),
                version=chosen.choice([1, 2]),
                aggregate_ids=[f"order-{n}" for n in range(9) if chosen.random() < 0.2],
                meta={"user": chosen.choice("xy")},
                payload=b'"%s"' % (b"x" * chosen.choice([0, 10, 5000])),
            )
            for _ in range(chosen.choice([1, 1, 2, 30]))
        ]
        for _ in range(chosen.choice([1, 2, 5]))
    ]


async def test_both_ways_leave_the_same_log(
    database_url: str, fresh_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = random.Random(20)
    async with connected(database_url) as [short], connected(fresh_database_url) as [long]:
        for _ in range(40):
            requests = [(facts, None) for facts in some_requests(chosen)]
            one = await append(short, requests)
            with monkeypatch.context() as patched:
                patched.setattr(appending, "is_plain", lambda requests: False)
                other = await append(long, requests)
            assert (one.head, one.head_id, one.refused) == (other.head, other.head_id, other.refused)
        assert await log_of(short) == await log_of(long)


async def test_a_new_type_is_registered_and_its_limit_holds(database_url: str) -> None:
    limits = CatalogueLimits(namespace_types_max=2, principal_namespaces_max=1)
    async with connected(database_url) as [connection]:
        for type in "AAB":
            appended = await append(connection, [([plain_fact(type=type)], None)], principals=["ann"], limits=limits)
            assert not appended.refused
        for changes, refusal in (({"type": "C"}, Refusal.TYPES), ({"namespace": "bank"}, Refusal.NAMESPACES)):
            requests = [([plain_fact(type="A")], None), ([plain_fact(**changes)], None)]
            appended = await append(connection, requests, principals=["ann", "ann"], limits=limits)
            assert {place: each.refusal for place, each in appended.refused.items()} == {1: refusal}
        assert await connection.fetchval("select count(*) from factwire.facts") == 5


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("wrong", ["head", "below the head", "ahead", "epoch"])
async def test_a_witness_that_is_not_there_any_more_is_a_fork(database_url: str, plain: bool, wrong: str) -> None:
    async with connected(database_url) as [connection]:
        facts = [plain_fact(), plain_fact()]
        first = await append_alone(connection, *facts)
        epoch = (await append(connection, [([plain_fact()], None)])).epoch
        good = Witness(epoch, first, facts[0].id)
        witness = {
            "head": Witness(epoch, Position(first + 2), facts[1].id),
            "below the head": Witness(epoch, first, facts[1].id),
            "ahead": Witness(epoch, Position(first + 3), facts[0].id),
            "epoch": Witness(epoch + 1, first, facts[0].id),
        }[wrong]
        with pytest.raises(asyncpg.PostgresError) as failure:
            await append(connection, [([a_fact(chosen_id=not plain)], None)], witness=witness)
        assert is_forked(failure.value)
        older = Witness(epoch - 1, first, facts[1].id)  # an epoch was raised since, which says that history changed
        for each in (good, older):
            appended = await append(connection, [([a_fact(chosen_id=not plain)], None)], witness=each)
            assert not appended.refused
        await connection.execute("update factwire.log set forked_at = now()")
        with pytest.raises(asyncpg.PostgresError) as failure:
            await append(connection, [([a_fact(chosen_id=not plain)], None)], witness=good)
        assert is_forked(failure.value)


async def test_more_facts_than_readers_look_back_are_refused(database_url: str) -> None:
    async with connected(database_url) as [connection]:
        await append_alone(connection, *(plain_fact() for _ in range(1000)))
        with pytest.raises(asyncpg.PostgresError, match="at most 1000"):
            await append_alone(connection, *(plain_fact() for _ in range(1001)))
