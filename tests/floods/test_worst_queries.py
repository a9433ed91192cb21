"""The worst that one principal may ask for: what others notice of it, and how long it can hold the lock of the log."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, given, settings, target
from hypothesis import strategies as st

from factwire.domain.condition import Condition, fail_if_match
from factwire.domain.grants import EVERY_NAMESPACE, new_namespace_set
from factwire.domain.position import Cursor, Position
from factwire.domain.query import Item, Query, new_item, restricted
from factwire.publish.batch import GROUP_PROBES_MAX, probes_of
from factwire.store.append import append
from factwire.store.connection import Connection
from tests.access.keys import known, make_key, new_client, new_grants
from tests.conftest import StartService
from tests.floods import worst_queries
from tests.floods.attackers import is_loopback_network
from tests.floods.bystanders import Bystanders, Noticed, at
from tests.floods.extreme_bodies import AGGREGATE_IDS, META_VALUES
from tests.floods.extremes import Attack, Role, run_extreme
from tests.floods.flooding import flooded
from tests.floods.worst_queries import fill
from tests.integration.store import a_fact

FLOOD_SECONDS = 60.0
CALM_SECONDS = 3.0
P99_MILLISECONDS = 250.0  # of others, as promised
UNDER_LOCK_SECONDS = 0.05  # as promised
FAR_BEYOND = 4  # times that fails the test: the machine of a test may be busy otherwise
PAUSE_SECONDS = 0.05

READERS = {
    "names": (["tenant.long", "tenant.tags"], []),
    "pattern": (["tenant.*"], []),
    "exclusion": (["*"], ["payroll"]),
}
ATTACKS: dict[str, tuple[Role, ...]] = {
    "searches": (Role(worst_queries.search, 24),),
    "conditions": (Role(worst_queries.decide, 24),),
    "streams": (Role(worst_queries.follow, 24),),
    "all of it": (
        Role(worst_queries.search, 8),
        Role(worst_queries.decide, 8),
        Role(worst_queries.follow, 8),
        Role(worst_queries.list_names, 2),
    ),
}

pytestmark = [
    pytest.mark.floods,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not is_loopback_network(), reason="needs the loopback network of Linux"),
]


@asynccontextmanager
async def filled(url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("set synchronous_commit = off")
        await fill(connection)
        await connection.execute("analyze")
        yield connection
    finally:
        await connection.close()


class Readers:
    """Who reads a page and signs in, again and again, beside those who publish and follow."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self._secret = secret
        self.noticed: dict[str, list[float]] = {}

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._run())
            yield
            task.cancel()

    async def _run(self) -> None:
        async with new_client(self._url, self._secret, timeout=20) as client:
            while True:
                await self._time("page", client.get("/v1/facts?aggregate_id=order-7&namespace=bystanders"))
                await self._time("names", client.get("/v1/namespaces?prefix=by"))
                await self._time("sign in", client.post("/v1/session"))
                await asyncio.sleep(PAUSE_SECONDS)

    async def _time(self, what: str, asking: "asyncio.Future[httpx.Response] | Attack | object") -> None:
        began_at = time.perf_counter()
        response = await asking  # type: ignore[misc]
        assert response.status_code in (200, 201), response.text
        self.noticed.setdefault(what, []).append((time.perf_counter() - began_at) * 1000)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ATTACKS)
async def test_others_are_served_beside_the_worst_that_one_may_ask_for(
    start_service: StartService, fresh_database_url: str, name: str, reader: str
) -> None:
    async with filled(fresh_database_url):
        service = await start_service(auth="keys", query_items_max=1000)
        attackers = (
            await make_key(service.database_url, new_grants(publish=(["tenant.*"], []), read=READERS[reader]))
        ).secret
        others = (
            await make_key(service.database_url, new_grants(publish=(["bystanders"], []), read=(["bystanders"], [])))
        ).secret
        await known(service.url, attackers, others)
        bystanders, readers = Bystanders(service.url, secret=others), Readers(service.url, others)
        async with bystanders.busy(), readers.busy():
            await asyncio.sleep(CALM_SECONDS)
            calm = at(bystanders.noticed.publish, 0.99)
            async with flooded(run_extreme, service.port, attackers, None, ATTACKS[name]) as outcomes:
                bystanders.noticed, readers.noticed = Noticed(), {}
                await asyncio.sleep(FLOOD_SECONDS if name == "all of it" else CALM_SECONDS * 4)
        noticed = {**vars(bystanders.noticed), **readers.noticed}
        print(f"\n{name} by {reader}: others in a calm p99={calm:.1f} ms; meanwhile")
        for what, values in noticed.items():
            p50, p99, most = at(values, 0.5), at(values, 0.99), max(values)
            print(f"  {what:8} n={len(values)} p50={p50:.1f} p99={p99:.1f} max={most:.1f} ms")
        print(f"  attackers: {outcomes}")
        assert not [each for each in outcomes if each == "500" or each.startswith("failed")], outcomes
        for values in noticed.values():
            assert len(values) >= 20
            assert at(values, 0.99) < P99_MILLISECONDS * FAR_BEYOND


TAGS = ["even", "odd", "order-1", "order-7", "none", *AGGREGATE_IDS]
PAIRS = [("region", "eu"), *[("k", value) for value in META_VALUES]]
TYPES = ["Opened", "Closed", "OrderPlaced", "Never", *[f"Never{n}" for n in range(96)]]
NAMES = ["tenant.long", "tenant.tags", "payroll", "none", *[f"tenant.{n:05}" for n in range(96)]]
WITHIN = [EVERY_NAMESPACE] + [new_namespace_set(*each) for each in READERS.values()]
items = st.builds(
    new_item,
    namespaces=st.one_of(st.just([]), st.lists(st.sampled_from(NAMES), max_size=100, unique=True)),
    types=st.one_of(st.just([]), st.lists(st.sampled_from(TYPES), max_size=100, unique=True)),
    aggregate_ids=st.one_of(
        st.just([]), st.just(AGGREGATE_IDS), st.lists(st.sampled_from(TAGS), max_size=36, unique=True)
    ),
    meta=st.one_of(st.just([]), st.just(PAIRS), st.lists(st.sampled_from(PAIRS), max_size=64, unique=True)),
)


async def test_no_condition_holds_the_lock_for_long(fresh_database_url: str) -> None:
    """A search for the worst, led by the time that the call takes."""
    async with filled(fresh_database_url):
        worst = await asyncio.to_thread(search_for_the_worst, fresh_database_url)
    print(f"\nthe worst condition that was found takes {worst * 1000:.0f} ms under the lock")
    assert worst < UNDER_LOCK_SECONDS * FAR_BEYOND


def search_for_the_worst(url: str) -> float:
    found = [0.0]
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(url))

        @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(
            asked=st.lists(st.tuples(items, st.sampled_from(WITHIN), st.integers(1, 32)), min_size=1, max_size=4),
            requests=st.integers(1, 8),
            after=st.integers(0, 100_000),
        )
        def look(asked: list[tuple[Item, object, int]], requests: int, after: int) -> None:
            chosen = [
                each
                for item, within, times in asked
                for each in restricted(Query((item,) * times), within).items  # type: ignore[arg-type]
                if item.namespaces or item.types or item.tags
            ][:32]
            if not chosen:
                return
            # A process puts no more into one call, unless one request has more.
            together = min(requests, max(1, GROUP_PROBES_MAX // sum(map(probes_of, chosen))))
            condition = fail_if_match(Query(tuple(chosen)), Cursor(0, Position(after)))
            seconds = runner.run(time_of(connection, condition, together))
            found[0] = max(found[0], seconds)
            target(seconds * 1000)

        look()
        runner.run(connection.close())
    return found[0]


async def time_of(connection: Connection, condition: Condition, requests: int) -> float:
    """How long a call takes for its conditions: the least of a few, since the machine does other things as well."""
    taken = []
    for _ in range(3):
        transaction = connection.transaction()
        await transaction.start()
        began_at = time.perf_counter()
        await append(connection, [([a_fact(namespace="tenant.long")], condition) for _ in range(requests)])
        taken.append(time.perf_counter() - began_at)
        await transaction.rollback()
    return statistics.median(taken)
