"""Subscriptions in the database, changed by several connections at once."""

import asyncio
import time
from collections.abc import Sequence
from uuid import uuid4

import pytest

from factwire.domain.effect import Acknowledgement
from factwire.domain.position import START, Position
from factwire.domain.subscription import LeasedFact
from factwire.domain.subscription_errors import LeaseLost
from factwire.publish.batch import Published
from factwire.publish.publisher import Publisher
from factwire.store.append import Witness
from factwire.store.connection import Connection
from factwire.store.subscriptions.claims import Candidates, Claim, claim_facts
from tests.integration.logs import connected
from tests.integration.store import a_fact
from tests.integration.test_publishing import publishers
from tests.model.subscription_model import CREATE

CLAIMS = 40
FACTS = 8
FUNCTION = "select pg_get_functiondef(p.oid) from pg_proc p where p.proname = 'acknowledge_facts'"
OPEN = "select coalesce(sum(cardinality(positions)), 0) from factwire.subscription_leases where subscription = $1"
SETTLED = "select coalesce(sum(facts), 0) from factwire.subscription_settled where subscription = $1"
HOLD = "select pg_advisory_xact_lock(hashint8(l.lock_key), $1) from factwire.log l"


async def new_subscription(connection: Connection) -> int:
    id: int = await connection.fetchval(CREATE, "none", 5, 100_000)
    return id


async def claim(connection: Connection, id: int, lease: int, positions: Sequence[int]) -> None:
    """Claim facts at some positions, which follow those of the claims before."""
    candidates = Candidates(
        Position(positions[0] - 1), Position(positions[-1]), [*map(Position, positions)], [()] * len(positions)
    )
    epoch = await connection.fetchval("select epoch from factwire.log")
    claims = [Claim(lease, len(positions), "w")]
    outcome = await claim_facts(
        connection, id, revision=1, epoch=epoch, aside_max=1000, claims=claims, candidates=candidates
    )
    assert outcome is not None
    assert [position for position, _ in outcome.granted[0]] == list(positions)


async def acknowledge(connection: Connection, id: int, lease: int, position: int) -> None:
    facts = [LeasedFact(id, lease, Position(position))]
    outcome = await claim_facts(connection, id, revision=0, epoch=0, aside_max=0, acknowledged=facts)
    assert outcome is not None
    assert not outcome.lost


@pytest.mark.parametrize("row_lock", [True, False])
async def test_what_appends_and_calls_acknowledge_at_once_is_done(fresh_database_url: str, row_lock: bool) -> None:
    """Without the lock of the row in a statement of its own, a lease gets back what an append has taken out of it."""
    async with connected(fresh_database_url, 2) as [first, second], publishers(fresh_database_url, 1) as (publisher,):
        if not row_lock:
            definition = await first.fetchval(FUNCTION)
            assert "order by l.lease for update;" in definition
            await first.execute(definition.replace("order by l.lease for update;", ";"))
        id = await new_subscription(first)
        for number in range(CLAIMS):
            lease, positions = number + 1, range(1 + number * FACTS, 1 + (number + 1) * FACTS)
            await claim(first, id, lease, positions)
            publishing = [
                publisher.publish([a_fact()], effects=[Acknowledgement(id, lease, (position,))])
                for position in positions[::2]
            ]

            async def plainly(lease: int = lease, positions: Sequence[int] = positions[1::2]) -> None:
                for position in positions:
                    await acknowledge(second, id, lease, position)

            await asyncio.gather(*publishing, plainly())
        left = await first.fetchval(OPEN, id)
        assert (left == 0) == row_lock


async def test_one_lease_is_acknowledged_by_one_of_many_publishes(fresh_database_url: str) -> None:
    async with connected(fresh_database_url) as [connection], publishers(fresh_database_url, 2) as both:
        id = await new_subscription(connection)
        await claim(connection, id, 1, [1])
        effects = [Acknowledgement(id, 1, (1,))]
        attempts = [both[number % 2].publish([a_fact()], effects=effects) for number in range(8)]
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["LeaseLost"] * 7 + ["Published"]
        assert await connection.fetchval("select count(*) from factwire.facts") == 1
        assert await connection.fetchval(SETTLED, id) == 1
        lost = next(outcome for outcome in outcomes if isinstance(outcome, LeaseLost))
        assert lost.members["leases"] == [str(LeasedFact(id, 1, Position(1)))]


async def test_a_publish_never_waits_for_a_subscription(fresh_database_url: str) -> None:
    """Somebody holds the lock of the subscription; publishes with an acknowledgement, and all others, go on."""
    async with connected(fresh_database_url, 2) as [holder, other], publishers(fresh_database_url, 1) as (publisher,):
        id = await new_subscription(other)
        await claim(other, id, 1, [1, 2])
        await holder.transaction().start()
        await holder.execute(HOLD, id)
        calling = asyncio.create_task(acknowledge(other, id, 1, 2))
        await asyncio.sleep(0.2)
        assert not calling.done()
        async with asyncio.timeout(5):
            published = await publisher.publish([a_fact()], effects=[Acknowledgement(id, 1, (1,))])
            assert isinstance(published, Published)
            assert isinstance(await publisher.publish([a_fact()]), Published)
        holder.terminate()
        await calling
        assert await other.fetchval(OPEN, id) == 0


async def test_a_publish_whose_lease_is_being_changed_is_decided_by_a_later_call(fresh_database_url: str) -> None:
    async with connected(fresh_database_url, 2) as [holder, other], publishers(fresh_database_url, 1) as (publisher,):
        id = await new_subscription(other)
        await claim(other, id, 1, [1])
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute("select from factwire.subscription_leases for update")
        began_at = time.monotonic()
        waiting = asyncio.create_task(publish_with(publisher, id))
        while time.monotonic() < began_at + 0.3:
            assert isinstance(await publisher.publish([a_fact()]), Published)
        assert not waiting.done()
        await transaction.rollback()
        assert isinstance(await waiting, Published)


async def publish_with(publisher: Publisher, id: int) -> Published:
    return await publisher.publish([a_fact()], effects=[Acknowledgement(id, 1, (1,))])


@pytest.mark.parametrize("position", [1, 2])
async def test_facts_of_another_history_are_not_granted(fresh_database_url: str, position: int) -> None:
    """Behind a fail-over that lost facts, others may stand in their place, or nobody yet."""
    async with connected(fresh_database_url) as [connection], publishers(fresh_database_url, 1) as (publisher,):
        await publisher.publish([a_fact()])
        stored = await connection.fetchval("select id::text from factwire.facts")
        id = await new_subscription(connection)
        epoch = await connection.fetchval("select epoch from factwire.log")
        candidates = Candidates(START, Position(position), [Position(position)], [()])
        for witness in (str(uuid4()), stored):
            outcome = await claim_facts(
                connection,
                id,
                revision=1,
                epoch=epoch,
                witness=Witness(epoch, Position(position), witness),
                aside_max=1000,
                claims=[Claim(1, 1, "w")],
                candidates=candidates,
            )
            is_there = (position, witness) == (1, stored)
            assert outcome is not None
            assert (outcome.is_forked, len(outcome.granted[0])) == (not is_there, int(is_there))
            assert outcome.position == int(is_there)
