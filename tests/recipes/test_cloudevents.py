"""docs/recipes/cloudevents_in.py and cloudevents_out.py: events of the CloudEvents SDK come back as they were."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from tests.conftest import StartService
from tests.recipes.cutting import relaying
from tests.recipes.programs import publish, published, python, run, running
from tests.support.builders import new_facts
from tests.support.waiting import until

ADDED = {"factposition", "factpublishedat", "factversion"}


def event(number: int, data: object = None, **attributes: object) -> CloudEvent:
    given = {"id": f"A-{number}", "source": "https://shop.example/orders", "type": "OrderPlaced", "namespace": "shop"}
    return CloudEvent(given | attributes, data)  # type: ignore[arg-type]


def events() -> list[CloudEvent]:
    """One of each kind."""
    return [
        event(1, {"total": 12.5, "note": "a\u2028b"}, subject="order-1", time=datetime(2026, 11, 23, 10, tzinfo=UTC)),
        event(2, b"\x00\xff", datacontenttype="application/octet-stream", dataschema="https://shop.example/1"),
        event(3, "a text", id=str(uuid4()), traceid="t-1"),
        event(4),
    ]


def written(given: Iterable[BaseCloudEvent]) -> bytes:
    return b"".join(JSONFormat().write(each) + b"\n" for each in given)


def read(lines: str) -> list[BaseCloudEvent]:
    return [JSONFormat().read(CloudEvent, line) for line in lines.split("\n") if line]


def told(event: BaseCloudEvent) -> tuple[dict[str, Any], object]:
    attributes = {"datacontenttype": "application/json"} | event.get_attributes()
    return {name: attributes[name] for name in attributes.keys() - ADDED}, event.get_data()


def bring_in(url: str) -> list[str]:
    return python("recipes/cloudevents_in.py", url)


def take_out(url: str, *cursor: str) -> list[str]:
    return python("recipes/cloudevents_out.py", url, "shop", "--follow", *cursor)


async def taken_out(url: str) -> str:
    """What it writes that ends at the head, which is what the service exports."""
    code, lines = await run(python("recipes/cloudevents_out.py", url, "shop"))
    assert code == 0, lines
    async with httpx.AsyncClient(base_url=url, verify=False) as client:
        assert lines == (await client.get("/v1/facts/cloudevents", params={"namespace": "shop"})).text
    return lines


def numbers(path: Path) -> list[int]:
    lines, _, _ = path.read_text().rpartition("\n")
    return [int(each.get_attributes()["factposition"]) for each in read(lines)]


async def test_events_come_back_as_they_went_in(start_service: StartService, tmp_path: Path) -> None:
    url = (await start_service()).url
    given = events()
    assert await run(bring_in(url), given=written(given)) == (0, "")
    lines = await taken_out(url)
    assert [told(each) for each in read(lines)] == [told(each) for each in given]
    log = tmp_path / "stream.ndjson"
    async with running(take_out(url), log_path=log):
        await until(lambda: numbers(log) == [1, 2, 3, 4])
    assert log.read_text() == lines


async def test_facts_go_out_as_events(start_service: StartService) -> None:
    url = (await start_service()).url
    facts = new_facts(3)
    await publish(url, *facts)
    lines = await taken_out(url)
    seen = [(each.get_id(), each.get_type(), each.get_subject(), each.get_data()) for each in read(lines)]
    assert seen == [(fact["id"], fact["type"], fact["aggregate_ids"][0], fact["payload"]) for fact in facts]


async def test_what_is_repeated_is_published_once(start_service: StartService) -> None:
    """A longer file is other batches, of which some events are known."""
    url = (await start_service()).url
    given = [event(number, {"number": number}) for number in range(250)]
    for length in (150, 250, 250):
        assert await run(bring_in(url), given=written(given[:length])) == (0, "")
    assert [fact["payload"]["number"] for fact in await published(url, "shop")] == list(range(250))


async def test_lost_answers_publish_once(start_service: StartService) -> None:
    service = await start_service()
    async with relaying(service.port) as (relay, url):
        relay.answers_to_lose = 3
        code, said = await run(bring_in(url), given=written(event(number, {}) for number in range(250)))
        assert (code, relay.cut) == (0, 3), said
    assert len(await published(service.url, "shop")) == 250


async def test_what_is_no_event_ends_it_with_the_problem(start_service: StartService) -> None:
    url = (await start_service()).url
    code, said = await run(bring_in(url), given=written([event(1)]) + b'{"specversion": "1.0"}\n')
    assert code == 1
    assert "urn:factwire:problem:invalid-request" in said
    assert await published(url, "shop") == []


async def test_a_stream_that_is_cut_goes_on_where_it_was(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service()
    await publish(service.url, *new_facts(100))
    log = tmp_path / "stream.ndjson"
    async with relaying(service.port) as (relay, url):
        relay.room = 33_333
        async with running(take_out(url), log_path=log):
            await until(lambda: len(numbers(log)) == 100)
            relay.cut_off()
            await publish(service.url, *new_facts(10))
            await until(lambda: len(numbers(log)) == 110)
        assert relay.cut > 1
    assert numbers(log) == list(range(1, 111))


async def test_started_again_it_goes_on_behind_the_last_line(start_service: StartService, tmp_path: Path) -> None:
    url = (await start_service()).url
    await publish(url, *new_facts(10))
    log = tmp_path / "stream.ndjson"
    async with running(take_out(url), log_path=log) as program:
        await until(lambda: len(numbers(log)) == 10)
        await program.kill()
    await publish(url, *new_facts(5))
    async with running(take_out(url, str(numbers(log)[-1])), log_path=log):
        await until(lambda: len(numbers(log)) == 15)
    assert numbers(log) == list(range(1, 16))


async def test_a_problem_that_would_come_back_ends_them(start_service: StartService) -> None:
    url = (await start_service(auth="keys")).url
    for command in (bring_in(url), take_out(url)):
        code, said = await run(command, given=written([event(1)]))
        assert code == 1
        assert "urn:factwire:problem:unauthenticated" in said
