"""The client through a proxy that cuts, delays and repeats at any byte: every call has the outcome that it tells."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factwire_client import Fact, NewFact, Query, SqliteView
from tests.python_client.both import both, client_of
from tests.support.bad_network import Fault, bad_network
from tests.support.postgres import Databases
from tests.support.service import ServiceProcess, settings_of

pytestmark = pytest.mark.timeout(240)  # each example waits as a client has to wait

PATIENT = 60.0
faults = st.builds(
    Fault,
    st.sampled_from(["cut", "end", "lose", "delay", "repeat"]),
    # The first kilobyte is where headers end, bodies begin, and an event has its lines.
    st.one_of(st.integers(0, 1200), st.integers(0, 20_000)),
)
scripts = st.lists(faults, max_size=6)
tried = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def quick_service(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A service with a `retry:` that is short, so that many streams can be cut in a short time."""
    environment = settings_of(database_url=databases.create(), auth="none", retry_seconds=0.1)
    process = ServiceProcess(environment, log_path=tmp_path_factory.mktemp("service") / "service.log")
    asyncio.run(process.__aenter__())
    yield process
    asyncio.run(process.close())


@both
@given(script=scripts)
@tried
def test_what_is_published_is_in_the_log_once_and_where_it_was_said(
    quick_service: ServiceProcess, half: str, script: list[Fault]
) -> None:
    async def publish() -> None:
        namespace = f"bad-{uuid4()}"
        async with bad_network(quick_service.port, script) as (_, url), client_of(half, url) as log:
            told = [
                (await log.publish(namespace, "Counted", {"n": n, "filling": "x" * (n * 400)})).position
                for n in range(5)
            ]
        async with client_of(half, quick_service.url) as log:
            found = [fact async for fact in log.read(Query(namespaces=[namespace]))]
        assert [fact.position for fact in found] == told
        assert [fact.payload["n"] for fact in found] == list(range(5))

    asyncio.run(asyncio.wait_for(publish(), PATIENT))


@both
@given(script=scripts)
@tried
def test_a_follower_gets_each_fact_once_and_in_order(
    quick_service: ServiceProcess, half: str, script: list[Fault]
) -> None:
    async def follow() -> None:
        namespace = f"bad-{uuid4()}"
        async with client_of(half, quick_service.url) as log:
            facts = [NewFact(namespace, "Counted", {"n": n, "text": "\u2028\n\n" + "x" * 300}) for n in range(30)]
            await log.publish_all(facts[:20])
            async with bad_network(quick_service.port, script) as (_, url), client_of(half, url) as follower:
                seen: list[int] = []
                async for fact in follower.follow(Query(namespaces=[namespace])):
                    seen.append(fact.payload["n"])
                    if len(seen) == 20:
                        for each in facts[20:]:
                            await log.publish_all([each])
                    if len(seen) == 30:
                        break
        assert seen == list(range(30))

    asyncio.run(asyncio.wait_for(follow(), PATIENT))


@both
@given(script=scripts)
@tried
def test_decisions_see_all_that_was_decided(quick_service: ServiceProcess, half: str, script: list[Fault]) -> None:
    async def decide() -> None:
        namespace = f"bad-{uuid4()}"
        query = Query(namespaces=[namespace], aggregate_ids=["counter"])

        def one_more(facts: list[Fact]) -> NewFact:
            return NewFact(namespace, "Counted", {"n": len(facts)}, aggregate_ids=["counter"])

        async with bad_network(quick_service.port, script) as (_, url), client_of(half, url) as log:
            await asyncio.gather(*(log.decide(query, one_more, attempts=50) for _ in range(6)))
        async with client_of(half, quick_service.url) as log:
            assert [fact.payload["n"] async for fact in log.read(query)] == list(range(6))

    asyncio.run(asyncio.wait_for(decide(), PATIENT))


@given(script=scripts)
@tried
def test_a_projection_applies_each_fact_once(
    quick_service: ServiceProcess, tmp_path: Path, script: list[Fault]
) -> None:
    async def project() -> None:
        namespace = f"bad-{uuid4()}"
        path = tmp_path / f"{namespace}.db"
        async with client_of("blocking", quick_service.url) as log:
            await log.publish_all([NewFact(namespace, "Counted", {"n": n, "text": "x" * 300}) for n in range(30)])

        def count(view: sqlite3.Connection, fact: Fact) -> None:
            view.execute("insert into seen values (?)", (fact.payload["n"],))

        def run(url: str) -> list[int]:
            from factwire_client import Factwire

            view = sqlite3.connect(path)
            view.execute("create table seen (n integer)")
            with Factwire(url) as log:
                log.project(SqliteView(view, "seen"), Query(namespaces=[namespace]), count, until_caught_up=True)
            return [n for (n,) in view.execute("select n from seen")]

        async with bad_network(quick_service.port, script) as (_, url):
            assert await asyncio.to_thread(run, url) == list(range(30))

    asyncio.run(asyncio.wait_for(project(), PATIENT))
