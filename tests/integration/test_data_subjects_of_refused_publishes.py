"""The key of a data subject is stored with the first fact about it: not before, not without it, and once."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from factwire.domain.errors import FactwireError
from factwire.domain.fact import NewFact
from factwire.domain.position import START, Position
from factwire.domain.query import EVERYTHING
from factwire.publish.batch import Published
from factwire.publish.publisher import Publisher
from factwire.store.connection import Connection
from factwire.store.encryption.keys import KEY_BYTES, MasterKeys, new_master_key
from factwire.store.erasure import erase_data_subject
from factwire.store.log import resolve
from factwire.store.read import Form, PageBounds, read_page
from factwire.store.verification.chain import Flaw
from factwire.store.verification.verifier import Verifier
from tests.conftest import StartService
from tests.e2e.erasure import a_secret_fact, erase, opened, publish
from tests.integration.damage import code_of
from tests.integration.logs import MIB, connected, opened_database, running, unless, waiting_for_a_lock
from tests.integration.store import a_fact
from tests.support.builders import new_fact, publication
from tests.support.waiting import until

KEY = new_master_key()
MASTER_KEYS = MasterKeys([bytes(KEY_BYTES)])
DATA_SUBJECTS = "select id from factwire.data_subjects order by id"
LOCK_LOG = "select factwire.lock_log()"


@asynccontextmanager
async def publishers(url: str, count: int = 2) -> AsyncIterator[list[Publisher]]:
    """As many processes, with the same master key."""
    async with AsyncExitStack() as stack:
        made: list[Publisher] = []
        for _ in range(count):
            database = replace(await stack.enter_async_context(opened_database(url)), master_keys=MASTER_KEYS)
            publisher = Publisher(
                database, wait_seconds=30.0, waiting_requests_max=1000, waiting_bytes_max=MIB, condition_seconds=10.0
            )
            await stack.enter_async_context(running(publisher.run()))
            made.append(publisher)
        await asyncio.sleep(0)  # sealing needs them to run
        yield made


async def data_subjects(connection: Connection) -> list[str]:
    return [row["id"] for row in await connection.fetch(DATA_SUBJECTS)]


async def payloads(url: str) -> list[Any]:
    """The payloads of all facts, opened."""
    async with opened_database(url) as database, database.read() as connection:
        page = await read_page(
            connection, EVERYTHING, after=START, form=Form.LINES, bounds=PageBounds(), master_keys=MASTER_KEYS
        )
    return [json.loads(line)["payload"] for line in page.body.splitlines()]


async def flaws(connection: Connection) -> list[Flaw]:
    head = (await resolve(connection, "head")).position
    found = Verifier(connection, MASTER_KEYS).run(after=START, until=head)
    return [each async for each in found if isinstance(each, Flaw)]


async def outcome(publisher: Publisher, *facts: NewFact, **condition: Any) -> Published | FactwireError:
    try:
        return await publisher.publish(facts, **condition)
    except FactwireError as error:
        return error


def about(data_subject: str, payload: int = 1, **changes: Any) -> NewFact:
    return a_fact(data_subject=data_subject, payload=str(payload).encode(), **changes)


@pytest.fixture
async def client(start_service: StartService) -> AsyncIterator[httpx.AsyncClient]:
    service = await start_service(master_key=KEY)
    async with opened(service.url) as client:
        yield client


async def test_a_refused_publish_leaves_nothing_of_the_data_subject_that_it_names(
    client: httpx.AsyncClient, fresh_database_url: str
) -> None:
    stored = new_fact(aggregate_ids=["once"])
    await publish(client, stored)
    taken = {"fail_if_match": [{"aggregate_ids": ["once"]}]}
    bodies = {
        "condition": publication(a_secret_fact("never"), condition=taken),
        "condition-of-two": publication(new_fact(), a_secret_fact("never"), condition=taken),
        "expensive": publication(a_secret_fact("never"), condition={"fail_if_match": [{"types": ["OrderPlaced"]}]}),
        "id": publication(a_secret_fact("never", id=stored["id"])),
        "id-of-two": publication(a_secret_fact("never"), stored | {"payload": 2}),
        "part": publication(stored, a_secret_fact("never")),
        "ahead": publication(a_secret_fact("never"), condition=taken | {"after": "1:99"}),
        "forked": publication(a_secret_fact("never"), condition=taken | {"after": "9:1"}),
    }
    async with connected(fresh_database_url) as [connection]:
        for name, body in bodies.items():
            assert (await client.post("/v1/facts", json=body)).status_code == 409, name
            assert await data_subjects(connection) == [], name
            assert code_of(await client.delete("/v1/data-subjects/never")) == (404, "data-subject-not-found"), name

        lines = b"".join(
            json.dumps(fact).encode() + b"\n" for fact in (stored | {"payload": 3}, a_secret_fact("never"))
        )
        answer = await client.post("/v1/facts/import", content=lines, headers={"content-type": "application/x-ndjson"})
        assert json.loads(answer.text.splitlines()[-1])["problem"]["line"] == 1
        assert await data_subjects(connection) == []

        # Nothing stands in the way of a later one.
        published = a_secret_fact("never")
        await publish(client, published)
        assert await data_subjects(connection) == ["never"]
        assert (await client.get(f"/v1/facts/{published['id']}")).json()["payload"] == published["payload"]
        await erase(client, "never")
        assert code_of(await client.post("/v1/facts", json=publication(a_secret_fact("never")))) == (
            409,
            "data-subject-erased",
        )


async def test_of_the_requests_of_one_call_only_those_that_are_stored_leave_a_data_subject(database_url: str) -> None:
    known = a_fact(aggregate_ids=["once"])
    async with publishers(database_url, 1) as (publisher,), connected(database_url, 2) as [locking, watching]:
        await publisher.publish([known])
        async with locking.transaction():
            await locking.execute(LOCK_LOG)
            first = asyncio.create_task(publisher.publish([a_fact()]))
            await until(lambda: waiting_for_a_lock(watching))
            refused = [
                asyncio.create_task(outcome(publisher, about("refused"), condition=unless("once"))),
                asyncio.create_task(outcome(publisher, about("refused-too", id=known.id))),
                asyncio.create_task(outcome(publisher, about("both"), condition=unless("once"))),
            ]
            stored = [asyncio.create_task(outcome(publisher, about(each))) for each in ("stored", "both", "stored-too")]
            await until(lambda: publisher.waiting == 7)
        assert isinstance(await first, Published)
        assert [isinstance(each, Published) for each in await asyncio.gather(*refused)] == [False] * 3
        assert [isinstance(each, Published) for each in await asyncio.gather(*stored)] == [True] * 3
        assert await data_subjects(watching) == ["both", "stored", "stored-too"]
        assert await flaws(watching) == []
    assert await payloads(database_url) == [1] * 5


async def at_one_moment(
    locking: Connection, watching: Connection, publishes: Sequence[Coroutine[Any, Any, Any]], *, sessions: int
) -> list[Any]:
    """Let all of them make their keys, and come for the lock, before the first of them has it."""

    async def all_wait() -> bool:
        return await waiting_for_a_lock(watching) == sessions

    async with locking.transaction():
        await locking.execute(LOCK_LOG)
        tasks = [asyncio.create_task(each) for each in publishes]
        await until(all_wait)
    return list(await asyncio.gather(*tasks))


async def test_two_processes_that_make_a_key_for_one_data_subject_at_the_same_moment_both_publish(
    database_url: str,
) -> None:
    async with publishers(database_url, 3) as processes, connected(database_url, 2) as [locking, watching]:
        for round in range(5):
            publishes = [
                outcome(each, about(f"customer-{round}", payload=10 * round + number))
                for number, each in enumerate(processes)
            ]
            outcomes = await at_one_moment(locking, watching, publishes, sessions=len(processes))
            assert [type(each) for each in outcomes] == [Published] * len(processes)
            assert not any(each.replayed for each in outcomes)
        assert await data_subjects(watching) == [f"customer-{round}" for round in range(5)]
        assert await flaws(watching) == []
    assert sorted(await payloads(database_url)) == sorted(
        10 * round + number for round in range(5) for number in range(3)
    )


async def test_requests_of_one_process_about_one_new_data_subject_all_publish(database_url: str) -> None:
    async with publishers(database_url, 2) as processes, connected(database_url) as [watching]:
        outcomes = await asyncio.gather(
            *(
                outcome(processes[number % 2], about("customer", payload=number), about(f"c-{number % 7}"))
                for number in range(40)
            )
        )
        assert {type(each) for each in outcomes} == {Published}
        assert await data_subjects(watching) == sorted(["customer", *(f"c-{number}" for number in range(7))])
        assert await flaws(watching) == []
    assert sorted(await payloads(database_url)) == sorted([*range(40), *[1] * 40])


@pytest.mark.parametrize("processes", [1, 2])
async def test_retries_about_a_new_data_subject_beside_their_original_get_its_positions(
    database_url: str, processes: int
) -> None:
    async with publishers(database_url, processes) as each, connected(database_url, 2) as [locking, watching]:
        for round in range(5):
            facts = [about(f"customer-{round}"), about(f"customer-{round}"), a_fact(), about(f"other-{round}")]
            publishes = [outcome(each[number % processes], *facts) for number in range(6)]
            outcomes = await at_one_moment(locking, watching, publishes, sessions=processes)
            assert [type(found) for found in outcomes] == [Published] * 6
            positions = [Position(4 * round + number) for number in range(1, 5)]
            assert [list(found.positions) for found in outcomes] == [positions] * 6
            assert sorted(found.replayed for found in outcomes) == [False] + [True] * 5
        assert await flaws(watching) == []
    assert await payloads(database_url) == [1] * 20


async def test_files_about_a_new_data_subject_that_are_imported_at_the_same_moment_are_both_stored(
    database_url: str,
) -> None:
    shared = [about("customer", payload=number) for number in range(20)]
    files = [[*shared, about("customer", payload=100)], [*shared, about("other", payload=101)]]
    async with publishers(database_url, 2) as processes, connected(database_url, 2) as [locking, watching]:
        publishes = [publisher.publish_in_order(file) for publisher, file in zip(processes, files, strict=True)]
        outcomes = await at_one_moment(locking, watching, publishes, sessions=2)
        assert {type(each) for found in outcomes for each in found} == {Published}
        first, second = ([each.positions[0] for each in found[:20]] for found in outcomes)
        assert first == second == list(range(1, 21))
        assert await data_subjects(watching) == ["customer", "other"]
        assert await flaws(watching) == []
    assert sorted(await payloads(database_url)) == [*range(20), 100, 101]


async def test_a_key_that_was_made_before_an_erasure_is_not_stored_after_it(database_url: str) -> None:
    """The data subject was new when the payload was sealed, and erased when its turn came."""
    async with publishers(database_url, 2) as (first, second), connected(database_url, 2) as [locking, watching]:
        async with locking.transaction():
            await locking.execute(LOCK_LOG)
            late = asyncio.create_task(outcome(first, about("customer")))
            await until(lambda: waiting_for_a_lock(watching))
            await erase_data_subject(locking, "customer", by="test", unknown_too=True)
        refused = await late
        assert isinstance(refused, FactwireError)
        assert refused.code == "data-subject-erased"
        assert isinstance(await outcome(second, about("other")), Published)
        assert (await payloads(database_url))[1:] == [1]
        assert await data_subjects(watching) == ["customer", "other"]
