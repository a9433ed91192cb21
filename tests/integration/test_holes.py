"""A missing fact: nobody is led past it, everybody is told, and what is not missing is served and published."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from factwire.domain.errors import LogDamaged
from factwire.domain.position import Position
from factwire.domain.query import EVERYTHING, Query, new_item
from factwire.follow.progress import Facts, Failed
from factwire.store.encryption.keys import new_master_key
from factwire.store.pools import Pools
from factwire.store.read import Form, HistoryPage, PageBounds, read_page
from tests.conftest import StartService
from tests.e2e.erasure import a_secret_fact, opened, publish
from tests.integration.damage import behind_the_back, code_of, followed, take_away, verify_by_command
from tests.integration.logs import connected, fact, opened_database, opened_publisher, store, stored_ids, unless
from tests.integration.streams import everything, positions_of, process
from tests.support.builders import new_fact, new_facts, publication
from tests.support.waiting import until

HEAD, MISSING = 9, 5
KEY = new_master_key()
QUERIES = {
    "all": EVERYTHING,
    "tag": Query((new_item(aggregate_ids=["order-1"]),)),
    "type": Query((new_item(types=["OrderPlaced"]),)),
    "tag-and-type": Query((new_item(aggregate_ids=["order-1"], types=["OrderPlaced"]),)),
    "namespace": Query((new_item(namespaces=["shop"]),)),
    "one-of-two": Query((new_item(types=["OrderPlaced"]), new_item(aggregate_ids=["order-1"]))),
}

KEEP_A_COPY = "create temporary table kept as select * from factwire.facts where position = {position}"
PUT_BACK = "insert into factwire.facts select * from kept"
FOREIGN_POSTING = "insert into factwire.fact_tags (tag, position) values (e'a:nowhere\\x1dshop', $1)"


@pytest.fixture
async def damaged(database_url: str) -> AsyncIterator[Pools]:
    """Facts that all have the same tag and type, one of them gone."""
    async with connected(database_url) as [connection], opened_database(database_url) as database:
        await store(connection, [fact("order-1", f"seat-{n}") for n in range(1, HEAD + 1)], call_facts_max=2)
        await take_away(connection, MISSING)
        yield database


async def page_of(
    database: Pools, query: Query, *, after: int, descending: bool, form: Form, **bounds: int
) -> HistoryPage:
    upper = bounds.pop("until", None)
    async with database.read() as connection:
        return await read_page(
            connection,
            query,
            after=Position(after),
            until=None if upper is None else Position(upper),
            descending=descending,
            form=form,
            bounds=PageBounds(**bounds),
        )


async def walk(
    database: Pools, query: Query, *, descending: bool = False, form: Form, **bounds: int
) -> tuple[list[int], LogDamaged]:
    """Read page after page: how far each came, and the damage at the end."""
    edges: list[int] = []
    after, upper = 0, HEAD
    while after < upper:
        try:
            page = await page_of(database, query, after=after, descending=descending, form=form, until=upper, **bounds)
        except LogDamaged as damage:
            return edges, damage
        edges.append(page.through)
        after, upper = (after, page.through) if descending else (page.through, upper)
    raise AssertionError(f"nobody told of the damage: {edges}")


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("name", QUERIES)
async def test_a_page_in_rising_order_never_moves_past_a_missing_fact(damaged: Pools, name: str, form: Form) -> None:
    for facts_max in (1, 3, 1000):
        edges, damage = await walk(damaged, QUERIES[name], form=form, facts_max=facts_max)
        assert max(edges, default=0) < MISSING
        assert str(MISSING) in damage.detail
    before = await page_of(damaged, QUERIES[name], after=0, descending=False, form=form, until=MISSING - 1)
    behind = await page_of(damaged, QUERIES[name], after=MISSING, descending=False, form=form)
    assert (before.facts, before.through, behind.facts, behind.through) == (MISSING - 1, MISSING - 1, 4, HEAD)


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("name", QUERIES)
async def test_a_page_in_falling_order_never_moves_past_a_missing_fact(damaged: Pools, name: str, form: Form) -> None:
    for facts_max in (1, 3, 1000):
        edges, damage = await walk(damaged, QUERIES[name], descending=True, form=form, facts_max=facts_max)
        assert min(edges, default=HEAD) >= MISSING
        assert str(MISSING) in damage.detail
    behind = await page_of(damaged, QUERIES[name], after=MISSING, descending=True, form=form)
    assert (behind.facts, behind.through) == (HEAD - MISSING, MISSING)


@pytest.mark.parametrize("tags", [["nowhere"], ["nowhere", "order-1"]], ids=["alone", "beside-another"])
async def test_a_posting_without_its_fact_is_never_passed_over(damaged: Pools, tags: list[str]) -> None:
    query = Query(
        (new_item(aggregate_ids=[tags[0]], types=["OrderPlaced"]), *(new_item(aggregate_ids=[t]) for t in tags))
    )
    async with connected(damaged.url) as [connection]:
        await behind_the_back(connection, FOREIGN_POSTING, MISSING)
    for descending in (False, True):
        with pytest.raises(LogDamaged):
            await page_of(damaged, query, after=0, descending=descending, form=Form.ELEMENTS)


async def test_small_pages_by_bytes_end_before_a_missing_fact_and_not_behind_it(damaged: Pools) -> None:
    for bytes_max in (1, 500, 1000, 2000):
        edges, _ = await walk(damaged, EVERYTHING, form=Form.EVENTS, bytes_max=bytes_max)
        assert max(edges, default=0) < MISSING


async def test_publishing_goes_on_behind_a_missing_fact(damaged: Pools) -> None:
    async with opened_publisher(damaged.url) as publisher, connected(damaged.url) as [connection]:
        lost = await connection.fetchval("select id from factwire.fact_ids where position = $1", MISSING)
        published = await publisher.publish([fact("order-1"), fact()])
        assert list(published.positions) == [HEAD + 1, HEAD + 2]
        assert list((await publisher.publish([fact("order-2")], unless("order-2"))).positions) == [HEAD + 3]
        # What only the missing fact forbids stays forbidden, and nobody can say any more which fact that is.
        for condition in (unless("seat-5"), unless("seat-5", types=["OrderPlaced"]), unless("seat-5", "order-1")):
            with pytest.raises(LogDamaged):
                await publisher.publish([fact()], condition)
            refused, other = await asyncio.gather(
                publisher.publish([fact()], condition), publisher.publish([fact()]), return_exceptions=True
            )
            assert isinstance(refused, LogDamaged)
            assert not isinstance(other, BaseException)
        assert str(lost) not in await stored_ids(connection)


async def test_the_tail_stops_at_a_missing_fact_and_goes_on_when_it_is_back(database_url: str) -> None:
    facts = [fact("order-1") for _ in range(6)]
    async with connected(database_url) as [connection], process(database_url) as following:
        tail = following.tail
        await store(connection, facts[:2])
        await until(lambda: tail.head == 2)
        stream = following.streams.follow(everything(0, epoch=tail.epoch))
        assert positions_of(await anext(stream)) == [1, 2]
        async with connection.transaction(isolation="read_committed"):
            await store(connection, facts[2:])
            await connection.execute(KEEP_A_COPY.format(position=4))
            await take_away(connection, 4)
        await until(lambda: tail.damage is not None)
        assert tail.fork is None
        seen = [happening async for happening in stream]
        assert [position for each in seen for position in positions_of(each)] == [3]
        assert isinstance(seen[-1], Failed)
        assert isinstance(seen[-1].error, LogDamaged)
        assert tail.head == 3

        resumed = following.streams.follow(everything(3, epoch=tail.epoch))
        assert isinstance(await anext(resumed), Failed)
        await behind_the_back(connection, PUT_BACK)
        await until(lambda: tail.damage is None and tail.head == 6)
        again = await anext(following.streams.follow(everything(3, epoch=tail.epoch)))
        assert isinstance(again, Facts)
        assert positions_of(again) == [4, 5, 6]


async def test_the_tail_of_an_empty_log_does_not_begin_behind_a_missing_fact(database_url: str) -> None:
    async with connected(database_url) as [connection], process(database_url) as following:
        async with connection.transaction(isolation="read_committed"):
            await store(connection, [fact(), fact()])
            await take_away(connection, 1)
        await until(lambda: following.tail.damage is not None or following.tail.head > 0)
        assert (following.tail.damage is not None, following.tail.head) == (True, 0)


@pytest.fixture
async def client(start_service: StartService) -> AsyncIterator[httpx.AsyncClient]:
    """The client of a service whose log lacks a fact; every second of the others has a sealed payload.

    It was started afterwards: one that was there before still has the fact in its ring.
    """
    first = await start_service(master_key=KEY)
    async with opened(first.url) as publishing, connected(first.database_url) as [connection]:
        for number in range(1, HEAD + 1):
            members: dict[str, object] = {"aggregate_ids": ["order-1"]}
            await publish(publishing, new_fact(**members) if number % 2 else a_secret_fact("customer-1", **members))
        await take_away(connection, MISSING)
    service = await start_service(master_key=KEY)
    async with opened(service.url) as client:
        yield client


Ask = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]
READS: dict[str, Ask] = {
    "rising": lambda client: client.get("/v1/facts"),
    "falling": lambda client: client.get("/v1/facts", params={"order": "desc"}),
    "tag": lambda client: client.get("/v1/facts", params={"aggregate_id": "order-1"}),
    "type": lambda client: client.get("/v1/facts", params={"type": "OrderPlaced"}),
    "tag-and-type": lambda client: client.get("/v1/facts", params={"aggregate_id": "order-1", "type": "OrderPlaced"}),
    "tag-falling": lambda client: client.get("/v1/facts", params={"aggregate_id": "order-1", "order": "desc"}),
    "search": lambda client: client.post("/v1/facts/search", json={"items": [{"aggregate_ids": ["order-1"]}]}),
    "export": lambda client: client.get("/v1/facts/export"),
    "export-by-tag": lambda client: client.get("/v1/facts/export", params={"aggregate_id": "order-1"}),
    "cloudevents": lambda client: client.get("/v1/facts/cloudevents"),
    "from-there": lambda client: client.get("/v1/facts", params={"after": str(MISSING - 1), "limit": 1}),
}


async def test_whoever_reads_over_a_missing_fact_is_told_that_the_log_is_damaged(client: httpx.AsyncClient) -> None:
    answers = {name: code_of(await ask(client)) for name, ask in READS.items()}
    assert answers == dict.fromkeys(READS, (503, "log-damaged"))
    for path, parameters in (
        ("/v1/stream", {}),
        ("/v1/stream", {"event": "type"}),
        ("/v1/stream", {"aggregate_id": "order-1", "type": "OrderPlaced"}),
        ("/v1/stream/cloudevents", {}),
    ):
        seen = await followed(client, until="problem", path=path, **parameters)
        assert seen.problem == "log-damaged"
        assert [position for position in seen.positions if position >= MISSING] == []
        assert int(seen.cursor.partition(":")[2]) < MISSING


async def test_facts_before_and_behind_a_missing_one_are_served_and_new_ones_published(
    client: httpx.AsyncClient,
) -> None:
    first = (await client.get("/v1/facts", params={"limit": MISSING - 1})).json()
    assert ([each["position"] for each in first["facts"]], first["caught_up"]) == ([1, 2, 3, 4], False)
    assert code_of(await client.get("/v1/facts", params={"after": first["cursor"]})) == (503, "log-damaged")
    exported = await client.get("/v1/facts/export", params={"until": str(MISSING - 1)})
    assert (exported.status_code, exported.text.count("\n")) == (200, MISSING - 1)
    last = (await client.get("/v1/facts", params={"order": "desc", "limit": HEAD - MISSING})).json()
    assert [each["position"] for each in last["facts"]] == [9, 8, 7, 6]
    for position in (MISSING - 1, MISSING + 1):
        assert (await client.get(f"/v1/facts/at/{position}")).json()["position"] == position
    seen = await followed(client, until="caught-up", after=str(MISSING))
    assert seen.positions == [6, 7, 8, 9]

    assert await publish(client, new_fact(aggregate_ids=["order-1"])) == HEAD + 1
    refused = await client.post(
        "/v1/facts",
        json=publication(condition={"fail_if_match": [{"aggregate_ids": ["order-1"]}], "after": str(MISSING - 1)}),
    )
    assert code_of(refused) == (503, "log-damaged")
    seen = await followed(client, until="caught-up", after=str(HEAD))
    assert seen.positions == [HEAD + 1]


async def test_verify_names_a_missing_fact(client: httpx.AsyncClient, fresh_database_url: str) -> None:
    code, told = await verify_by_command(fresh_database_url, master_key=KEY)
    assert (code, told.splitlines()[0]) == (1, f"position {MISSING}: the fact is missing")
    assert "Traceback" not in told


async def test_an_export_with_a_missing_fact_further_on_is_cut_and_never_ended_cleanly(
    start_service: StartService,
) -> None:
    service = await start_service()
    async with opened(service.url) as client, connected(service.database_url) as [connection]:
        for _ in range(2):
            await publish(client, *new_facts(1000))
        await take_away(connection, 1500)
        received = bytearray()

        async def receive() -> None:
            async with client.stream("GET", "/v1/facts/export") as answer:
                async for piece in answer.aiter_bytes():
                    received.extend(piece)

        with pytest.raises(httpx.RemoteProtocolError):
            await receive()
        assert received.startswith(b'{"position":1,')
        assert b'"position":1500' not in received
        assert b'"position":1501' not in received
