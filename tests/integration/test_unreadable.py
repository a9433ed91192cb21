"""Stored documents that cannot be read: nobody is stopped by one, nothing is left out, and everybody is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from factwire.store.connection import Connection
from factwire.store.encryption.keys import new_master_key
from tests.conformance.frames import Frame
from tests.conformance.streams import Stream, follow
from tests.conftest import StartService
from tests.e2e.erasure import a_secret_fact, erase, lines, opened, publish
from tests.integration.damage import behind_the_back, followed, verify_by_command
from tests.integration.logs import connected, following_tail
from tests.support.builders import new_fact
from tests.support.waiting import until

KEY = new_master_key()
HEAD = 24
SEALED = 22

TO_DAMAGE = "update factwire.facts set document = {document} where position = $1"
# By position. Those between them are intact.
UNREADABLE = {
    2: "'garbage'::bytea",
    4: "''::bytea",
    6: "substr(document, 1, octet_length(document) - 5)",
    8: "substr(document, 1, 20)",
    10: "(select o.document from factwire.facts o where o.position = 11)",
    13: "(select o.document from factwire.facts o where o.position = 23)",
    15: "substr(document, position('{'::bytea in document))",
    17: "'}'::bytea",
    19: "document || 'x'::bytea",
    SEALED: "'garbage'::bytea",
}

APPEND_AUDIT = """
select factwire.lock_log(),
       factwire.append_audit(
         gen_random_uuid(), 'Poisoned', decode(repeat('00', 32), 'hex'), $1::bytea, array['t:factwire/Poisoned'])
"""


async def damage(connection: Connection) -> None:
    for position, document in UNREADABLE.items():
        await behind_the_back(connection, TO_DAMAGE.format(document=document), position)


def left_of(fact: dict[str, Any]) -> dict[str, Any]:
    """What is sent of a fact whose document cannot be read: its columns."""
    columns = {name: fact[name] for name in ("position", "published_at", "id", "namespace", "type", "version")}
    return columns | {"aggregate_ids": [], "meta": {}, "payload": None, "unreadable": True}


@pytest.fixture
async def stored() -> list[dict[str, Any]]:
    """What the facts were before the damage, and what is to be served of each afterwards."""
    return []


@pytest.fixture
async def client(start_service: StartService, stored: list[dict[str, Any]]) -> AsyncIterator[httpx.AsyncClient]:
    """The client of a service that was started when the documents were damaged already."""
    first = await start_service(master_key=KEY)
    async with opened(first.url) as publishing, connected(first.database_url) as [connection]:
        for number in range(1, HEAD + 1):
            secret = number in (SEALED, SEALED + 1)
            members: dict[str, object] = {"aggregate_ids": ["order-1"], "payload": {"number": number}}
            await publish(publishing, a_secret_fact("customer-1", **members) if secret else new_fact(**members))
        stored += (await publishing.get("/v1/facts", params={"limit": HEAD})).json()["facts"]
        await damage(connection)
    stored[:] = [left_of(fact) if fact["position"] in UNREADABLE else fact for fact in stored]
    service = await start_service(master_key=KEY)
    async with opened(service.url) as client:
        yield client


async def page(client: httpx.AsyncClient, **parameters: str) -> list[dict[str, Any]]:
    facts: list[dict[str, Any]] = []
    after = "start"
    while True:
        answer = await client.get("/v1/facts", params={"after": after} | parameters)
        read = answer.raise_for_status().json()
        facts += read["facts"]
        after = read["cursor"]
        if read["caught_up"]:
            return facts


async def falling(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    answer = await client.get("/v1/facts", params={"order": "desc"})
    facts: list[dict[str, Any]] = answer.raise_for_status().json()["facts"]
    return facts[::-1]


async def search(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    answer = await client.post("/v1/facts/search", json={"items": [{"aggregate_ids": ["order-1"]}]})
    facts: list[dict[str, Any]] = answer.raise_for_status().json()["facts"]
    return facts


async def by_position(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    answers = [await client.get(f"/v1/facts/at/{position}") for position in range(1, HEAD + 1)]
    return [answer.raise_for_status().json() for answer in answers]


async def by_id(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    ids = [fact["id"] for fact in await page(client)]
    return [(await client.get(f"/v1/facts/{id}")).raise_for_status().json() for id in ids]


async def export(client: httpx.AsyncClient, **parameters: str) -> list[dict[str, Any]]:
    return lines((await client.get("/v1/facts/export", params=parameters)).raise_for_status().text)


async def stream(client: httpx.AsyncClient, **parameters: str) -> list[dict[str, Any]]:
    return (await followed(client, until="caught-up", **parameters)).facts


Read = Callable[[httpx.AsyncClient], Awaitable[list[dict[str, Any]]]]
PATHS: dict[str, Read] = {
    "page": page,
    "page-by-page": lambda client: page(client, limit="1"),
    "page-by-tag": lambda client: page(client, aggregate_id="order-1"),
    "page-by-type": lambda client: page(client, type="OrderPlaced"),
    "page-by-tag-and-type": lambda client: page(client, aggregate_id="order-1", type="OrderPlaced", limit="3"),
    "falling": falling,
    "search": search,
    "by-position": by_position,
    "by-id": by_id,
    "export": export,
    "export-by-tag": lambda client: export(client, aggregate_id="order-1"),
    "unsealed-page": lambda client: page(client, until=str(SEALED - 1)),
    "stream": stream,
    "typed-stream": lambda client: stream(client, event="type"),
    "stream-by-tag": lambda client: stream(client, aggregate_id="order-1"),
}


async def test_every_path_shows_what_is_left_of_an_unreadable_fact_and_all_others_as_they_were(
    client: httpx.AsyncClient, stored: list[dict[str, Any]]
) -> None:
    for name, read in PATHS.items():
        expected = stored[: SEALED - 1] if name == "unsealed-page" else stored
        assert await read(client) == expected, name


EVENTS: dict[str, Read] = {
    "export": lambda client: cloudevents(client),
    "export-by-tag": lambda client: cloudevents(client, aggregate_id="order-1"),
    "stream": lambda client: stream(client, path="/v1/stream/cloudevents"),
    "stream-by-tag": lambda client: stream(client, path="/v1/stream/cloudevents", aggregate_id="order-1"),
}


async def cloudevents(client: httpx.AsyncClient, **parameters: str) -> list[dict[str, Any]]:
    return lines((await client.get("/v1/facts/cloudevents", params=parameters)).raise_for_status().text)


async def test_a_cloudevent_says_that_its_fact_cannot_be_read(
    client: httpx.AsyncClient, stored: list[dict[str, Any]]
) -> None:
    for name, read in EVENTS.items():
        events = await read(client)
        assert [event["id"] for event in events] == [fact["id"] for fact in stored], name
        assert [event["data"] for event in events] == [fact["payload"] for fact in stored], name
        marked = [int(event["factposition"]) for event in events if event.get("factunreadable") is True]
        assert marked == list(UNREADABLE), name
        assert all(event["factunreadable"] is True for event in events if "factunreadable" in event), name


@pytest.mark.parametrize(
    "parameters", [{}, {"event": "type"}, {"aggregate_id": "order-1"}], ids=["plain", "typed", "by-tag"]
)
async def test_the_id_of_every_event_is_the_position_of_its_fact(
    client: httpx.AsyncClient, stored: list[dict[str, Any]], parameters: dict[str, str]
) -> None:
    async with follow(str(client.base_url), {"after": "start", **parameters}) as opened_stream:
        frames = await opened_stream.take_until_caught_up()
    assert [(frame.position, frame.json()) for frame in frames[:-1]] == [(fact["position"], fact) for fact in stored]


async def test_a_page_of_one_document_that_stands_at_another_place_is_not_that_of_its_own(
    client: httpx.AsyncClient, stored: list[dict[str, Any]]
) -> None:
    """Nothing else on these pages lets them be put together fact by fact."""
    for parameters in ({"after": "12", "until": "13"}, {"after": "9", "until": "10"}, {"after": "12", "until": "14"}):
        expected = stored[int(parameters["after"]) : int(parameters["until"])]
        assert await page(client, **parameters) == expected
        assert await export(client, **parameters) == expected


async def test_what_cannot_be_read_is_not_told_to_be_erased(
    client: httpx.AsyncClient, stored: list[dict[str, Any]]
) -> None:
    await erase(client, "customer-1")
    seen = await page(client)
    assert seen[SEALED - 1] == stored[SEALED - 1]
    assert (seen[SEALED]["payload"], seen[SEALED]["erased"]) == (None, True)


async def test_verify_names_each_unreadable_document_and_no_other(
    client: httpx.AsyncClient, fresh_database_url: str
) -> None:
    code, told = await verify_by_command(fresh_database_url, master_key=KEY)
    named = {
        int(line.removeprefix("position ").partition(":")[0]) for line in told.splitlines() if "position " in line[:9]
    }
    assert (code, sorted(named)) == (1, list(UNREADABLE)), told
    assert "Traceback" not in told
    assert "position 2: the stored document cannot be read: the fact is sent without its payload" in told


POISONS = (b"garbage", b"", b'"id":"x"', b'"payload":{"a":1', b"\xff\x00")


async def test_live_streams_go_on_past_documents_that_cannot_be_read(start_service: StartService) -> None:
    service = await start_service()
    async with (
        opened(service.url) as client,
        connected(service.database_url) as [connection],
        AsyncExitStack() as stack,
    ):
        await publish(client, new_fact(aggregate_ids=["order-1"]))

        async def opened_stream(path: str = "/v1/stream", **parameters: str) -> Stream:
            stream = await stack.enter_async_context(follow(service.url, {"after": "head"} | parameters, path=path))
            assert (await stream.next_frame()).event == "caught-up"
            return stream

        every = [await opened_stream(), await opened_stream(event="type")]
        poisoned = await opened_stream(type="Poisoned")
        events = await opened_stream("/v1/stream/cloudevents")
        by_tag = await opened_stream(aggregate_id="order-1")
        for number, document in enumerate(POISONS):
            at = 2 + 2 * number
            async with connection.transaction(isolation="read_committed"):
                await connection.execute(APPEND_AUDIT, document)
            later = new_fact(aggregate_ids=["order-1"], payload={"number": number})
            assert await publish(client, later) == at + 1
            unreadable = (await client.get(f"/v1/facts/at/{at}")).json()
            assert (unreadable["type"], unreadable["payload"], unreadable["unreadable"]) == ("Poisoned", None, True)
            for stream in every:
                assert (await next_fact_of(stream)).json() == unreadable
                assert (await next_fact_of(stream)).json()["id"] == later["id"]
            assert (await next_fact_of(poisoned)).json() == unreadable
            first, second = await next_fact_of(events), await next_fact_of(events)
            assert (first.json()["factunreadable"], first.json()["data"]) == (True, None)
            assert (second.json()["id"], second.json()["data"]) == (later["id"], later["payload"])
            assert (await next_fact_of(by_tag)).json()["id"] == later["id"]
        metrics = (await client.get("/metrics")).text
        assert "factwire_database_reachable 1.0" in metrics
    assert "Traceback" not in service.log


async def next_fact_of(stream: Stream) -> Frame:
    """The next fact; a stream that reads history by itself says once more when it has caught up."""
    frame = await stream.next_fact()
    return frame if frame.event != "caught-up" else await stream.next_fact()


async def test_a_long_poll_is_answered_by_a_document_that_cannot_be_read(start_service: StartService) -> None:
    service = await start_service()
    async with opened(service.url) as client, connected(service.database_url) as [connection]:
        polling = asyncio.create_task(client.get("/v1/facts", params={"type": "Poisoned", "wait_seconds": 20}))
        async with connection.transaction(isolation="read_committed"):
            await connection.execute(APPEND_AUDIT, b"garbage")
        (fact,) = (await polling).json()["facts"]
        assert (fact["position"], fact["payload"], fact["unreadable"]) == (1, None, True)


async def test_the_tail_of_another_process_passes_over_what_it_cannot_read_and_counts_it(database_url: str) -> None:
    async with connected(database_url) as [connection], following_tail(database_url) as tail:
        for number, document in enumerate(POISONS, 1):
            async with connection.transaction(isolation="read_committed"):
                await connection.execute(APPEND_AUDIT, document)
            await until(lambda number=number: (tail.head, tail.unreadable) == (number, number))
        assert (tail.damage, tail.fork) == (None, None)
