"""Subscriptions in the database against a model: whatever processes and workers do, every fact is in one place.

Each mutation is a mistake that is easily made; the same acts must find it.
"""

import random

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from factwire.domain.position import Position
from factwire.domain.subscription import LeasedFact
from factwire.store.connection import Connection
from factwire.store.subscriptions.claims import Return
from tests.integration.logs import connected
from tests.model.subscription_model import ATTEMPTS_MAX, CREATE, Model, Violation, World
from tests.model.subscription_mutations import MUTATIONS, Mutation

FUNCTION = "select pg_get_functiondef(p.oid) from pg_proc p where p.proname = $1"
SEEDS_MAX = 200  # most mistakes are found by the first few

SEEDS = st.integers(0, 2**32 - 1)
HEAD = 40
ACTS = 50


async def mutate(connection: Connection, mutation: Mutation) -> None:
    definition: str = await connection.fetchval(FUNCTION, mutation.function)
    assert mutation.right in definition
    await connection.execute(definition.replace(mutation.right, mutation.wrong))


def new_world(chance: random.Random) -> World:
    ordering = chance.choices(["aggregate", "none", "all"], [6, 1, 1])[0]
    keys: dict[int, tuple[int, ...]] = {}
    count = chance.choice([2, 4, 12])
    for position in range(1, HEAD + 1):
        if chance.random() < 0.8:
            match ordering:
                case "all":
                    keys[position] = (0,)
                case "none":
                    keys[position] = ()
                case _:
                    keys[position] = tuple(chance.sample(range(count), chance.choice([0, 1, 1, 2, 2])))
    return World(
        HEAD, keys, ordering, in_flight_max=chance.choice([5, 1000]), aside_max=chance.choice([0, 3, 1000, 1000])
    )


async def do_one(model: Model, chance: random.Random) -> None:
    leased = [
        LeasedFact(model.id, lease, Position(position))
        for lease, positions in model.ledger.leases.items()
        for position in positions
    ]
    match chance.choices(["call", "return", "settle", "run out", "due", "resolve", "reset"], [50, 18, 8, 8, 5, 9, 2])[
        0
    ]:
        case "call":
            acks = some_facts(model, leased, chance) if chance.random() < 0.6 else []
            await model.call(chance.randint(0, 1), claims=chance.randint(0, 3), acks=acks, far=chance.random() < 0.1)
        case "return":
            how = chance.choice([Return(), Return(delay_seconds=0), Return(park=True), Return(released=True)])
            lost = [LeasedFact(model.id, lease, Position(position)) for lease, position in model.ledger.lost]
            await model.give_back(chance.sample(leased, min(len(leased), chance.randint(1, 2))) + lost[:1], how)
        case "settle" if leased:
            lease = chance.choice(leased).lease
            positions = chance.sample(facts := model.ledger.leases[lease], min(len(facts), chance.randint(1, 3)))
            await model.settle(lease, positions + [HEAD + 1] * (chance.random() < 0.1))
        case "run out":
            await model.run_out([fact.lease for fact in chance.sample(leased, min(len(leased), 2))])
        case "due":
            await model.come_due()
        case "resolve":
            parked = sorted(model.ledger.parked)
            await model.resolve(chance.sample(parked, min(len(parked), 3)), discard=chance.random() < 0.5)
        case "reset":
            await model.reset(chance.randint(0, model.world.head))


def some_facts(model: Model, leased: list[LeasedFact], chance: random.Random) -> list[LeasedFact]:
    """Facts to acknowledge: a lease, all of it but one, any facts, or what was acknowledged or lost before."""
    if not leased or chance.random() < 0.2:
        over = sorted({*model.ledger.lost, *model.ledger.acknowledged})
        return [LeasedFact(model.id, lease, Position(at)) for lease, at in chance.sample(over, min(len(over), 2))]
    if chance.random() < 0.7:
        lease = chance.choice(leased).lease
        of_lease = [fact for fact in leased if fact.lease == lease]
        return of_lease if chance.random() < 0.5 else chance.sample(of_lease, len(of_lease) - 1)
    return chance.sample(leased, chance.randint(1, len(leased)))


async def drain(model: Model) -> None:
    """Do all that is left; in the end every match is over, once."""
    for _ in range(4 * HEAD):
        leased = [
            LeasedFact(model.id, lease, Position(position))
            for lease, positions in model.ledger.leases.items()
            for position in positions
        ]
        await model.call(0, claims=2, acks=leased)
        await model.come_due()
        await model.resolve(sorted(model.ledger.parked), discard=False)
        await model.check()
        if sorted([*model.ledger.done, *model.ledger.discarded]) == sorted(model.world.keys):
            return
    raise Violation("not everything was handed out", model.ledger)


async def run_model(url: str, seed: int, *, mutation: Mutation | None = None) -> None:
    chance = random.Random(seed)
    world = new_world(chance)
    async with connected(url) as [connection]:
        await connection.transaction().start()  # never committed
        if mutation is not None:
            await mutate(connection, mutation)
        id = await connection.fetchval(CREATE, world.ordering, ATTEMPTS_MAX, world.in_flight_max)
        epoch = await connection.fetchval("select epoch from factwire.log")
        model = Model(connection, id, world, chance, epoch=epoch)
        for _ in range(ACTS):
            await do_one(model, chance)
            await model.check()
        await drain(model)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], phases=[Phase.generate]
)
@given(seed=SEEDS)
async def test_every_fact_is_in_one_place_and_comes_in_order(database_url: str, seed: int) -> None:
    await run_model(database_url, seed)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[each.mistake for each in MUTATIONS])
async def test_the_model_finds_the_mistake(database_url: str, mutation: Mutation) -> None:
    for seed in range(SEEDS_MAX):
        try:
            await run_model(database_url, seed, mutation=mutation)
        except (Violation, asyncpg.IntegrityConstraintViolationError):
            return
    raise AssertionError("not found")
