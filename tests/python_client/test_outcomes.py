"""What the client says of a publish, and where it stops: exactly what happened, and nothing more."""

import asyncio
import dataclasses
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest

from factwire_client import (
    ConditionFailed,
    CursorForked,
    FactIdConflict,
    FactNotFound,
    Json,
    NewFact,
    OutcomeUnknown,
    Query,
    TooManyFacts,
    UnexpectedAnswer,
    Unreachable,
)
from factwire_client.problems import CursorAhead, InvalidRequest, Unauthenticated
from tests.access.keys import EVERYTHING_GRANTED, known, make_key
from tests.conftest import StartService
from tests.python_client.both import both, client_of
from tests.recipes.programs import raise_epoch
from tests.support.bad_network import Fault, bad_network
from tests.support.service import ServiceProcess, free_port

CUT = Fault("cut", 0)


@pytest.fixture
def namespace() -> str:
    return f"outcomes-{uuid4()}"


@both
async def test_nobody_listens(half: str) -> None:
    async with client_of(half, f"http://127.0.0.1:{free_port()}", give_up_after=0.5) as log:
        with pytest.raises(Unreachable):
            await log.publish("shop", "OrderPlaced", {})


@both
async def test_answers_that_are_lost_leave_the_outcome_open_and_the_facts_tell_it_later(
    service: ServiceProcess, half: str, namespace: str
) -> None:
    async with (
        bad_network(service.port, [CUT] * 1000) as (_, url),
        client_of(half, url, give_up_after=1) as log,
    ):
        with pytest.raises(OutcomeUnknown) as caught:
            await log.publish(namespace, "OrderPlaced", {})
    async with client_of(half, service.url) as log:
        again = await log.resume(caught.value)
        assert again.replayed
        assert [fact.position async for fact in log.read(Query(namespaces=[namespace]))] == [again.position]


@both
async def test_what_is_resumed_keeps_its_condition_and_its_doubt(
    service: ServiceProcess, half: str, namespace: str
) -> None:
    mine = Query(namespaces=[namespace])
    async with (
        bad_network(service.port, [Fault("lose", 300)] * 1000) as (_, url),
        client_of(half, url, give_up_after=1) as log,
    ):
        with pytest.raises(OutcomeUnknown) as caught:
            await log.publish(namespace, "OrderPlaced", {}, fail_if_match=mine)
    async with client_of(half, f"http://127.0.0.1:{free_port()}", give_up_after=0.2) as log:
        with pytest.raises(OutcomeUnknown):
            await log.resume(caught.value)
    async with client_of(half, service.url) as log:
        await log.publish(namespace, "OrderPlaced", "somebody else")
        with pytest.raises(ConditionFailed):
            await log.resume(caught.value)


@both
async def test_what_was_missing_may_come_while_a_lost_attempt_is_on_its_way(
    service: ServiceProcess, half: str, namespace: str
) -> None:
    mine = Query(namespaces=[namespace])
    async with bad_network(service.port, [Fault("lose", 300)]) as (_, url), client_of(half, url) as log:
        with pytest.raises(OutcomeUnknown):
            await log.publish(namespace, "OrderPlaced", {}, fail_unless_match=mine)
    async with client_of(half, service.url) as log:
        with pytest.raises(ConditionFailed):
            await log.publish(namespace, "OrderPlaced", {}, fail_unless_match=mine)


@both
@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (504, '{"type": "unavailable"}', OutcomeUnknown),
        (504, '{"type": "unavailable", "errors": null}', OutcomeUnknown),
        (200, '{"ok": true}', OutcomeUnknown),
        (200, '{"facts": [{"id": "of-another", "position": 1}]}', OutcomeUnknown),
        (200, "null", OutcomeUnknown),
        (200, "", OutcomeUnknown),
        (302, "", UnexpectedAnswer),
        (403, "<html>", UnexpectedAnswer),
    ],
)
async def test_an_answer_of_a_gateway_is_none_of_the_service(
    half: str, status: int, body: str, expected: type[Exception]
) -> None:
    with gateway(status, body) as (url, _):
        async with client_of(half, url, give_up_after=0.3) as log:
            with pytest.raises(expected):
                await log.publish("shop", "OrderPlaced", {})
            with pytest.raises(Unreachable if status == 200 else UnexpectedAnswer):
                await log.page()


@both
async def test_a_gateway_is_not_asked_without_a_pause_and_its_page_is_no_stream(half: str) -> None:
    with gateway(503, "", {"retry-after": "0"}) as (url, asked):
        async with client_of(half, url, give_up_after=1) as log:
            with pytest.raises(UnexpectedAnswer):
                await log.page()
    assert 2 < len(asked) < 20
    with gateway(200, "<html>") as (url, _):
        async with client_of(half, url) as log:
            with pytest.raises(UnexpectedAnswer):
                _ = [fact async for fact in log.follow()]


@contextmanager
def gateway(status: int, body: str, headers: Mapping[str, str] | None = None) -> Iterator[tuple[str, list[str]]]:
    """A server before the service, which answers by itself; the paths that it was asked for."""
    asked: list[str] = []

    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


@both
async def test_keys_are_taken_with_the_line_end_of_their_file_and_never_shown(
    start_service: StartService, half: str
) -> None:
    service = await start_service(auth="keys")
    secret = (await make_key(service.database_url, EVERYTHING_GRANTED)).secret
    await known(service.url, secret)
    async with client_of(half, service.url, key=f"{secret}\n") as log:
        assert (await log.position()).head >= 0
    async with client_of(half, service.url, key=f"{secret[:20]} {secret[20:]}") as log:
        with pytest.raises(ValueError, match="characters that no key has") as caught:
            await log.position()
    assert secret[:20] not in str(caught.value)
    with pytest.raises(ValueError, match="give a key by key=") as refused:
        client_of(half, "http://user:pa55word@127.0.0.1:8000")
    assert "pa55word" not in str(refused.value)


@both
async def test_a_number_of_thousands_of_digits_holds_up_nobody(
    service: ServiceProcess, half: str, namespace: str
) -> None:
    mine = Query(namespaces=[namespace])
    async with client_of(half, service.url) as log:
        published = await log.publish(namespace, "Long", Json("1" * 5000))
        await log.publish(namespace, "Short", 1)
        assert [str(fact.payload)[:3] async for fact in log.read(mine)] == ["111", "1"]
        assert [fact.type async for fact in log.follow(mine, until_caught_up=True)] == ["Long", "Short"]
        cursor = (await log.fact(published.position)).cursor
        assert [fact.type async for fact in log.follow(mine, after=cursor, until_caught_up=True)] == ["Short"]


async def test_many_followers_hold_up_nothing_else(service: ServiceProcess, namespace: str) -> None:
    async with client_of("tasks", service.url) as log:
        streams = [log.follow(Query(namespaces=[namespace])) for _ in range(120)]
        waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
        await asyncio.sleep(0.5)
        published = await log.publish(namespace, "OrderPlaced", {})
        assert {fact.position for fact in await asyncio.gather(*waiting)} == {published.position}
        for stream in streams:
            await stream.aclose()


@both
async def test_a_condition_does_not_fail_because_of_an_own_attempt(
    service: ServiceProcess, half: str, namespace: str
) -> None:
    mine = Query(namespaces=[namespace])
    async with bad_network(service.port, [CUT, CUT]) as (network, url), client_of(half, url) as log:
        published = await log.publish(namespace, "OrderPlaced", {}, fail_if_match=mine)
    assert network.happened == ["cut", "cut"]
    assert published.replayed


@both
async def test_a_condition_that_fails_after_a_lost_attempt_is_decisive(
    service: ServiceProcess, half: str, namespace: str
) -> None:
    mine = Query(namespaces=[namespace])
    async with client_of(half, service.url) as log:
        await log.publish(namespace, "OrderPlaced", {})
    async with bad_network(service.port, [Fault("lose", 300)]) as (network, url), client_of(half, url) as log:
        with pytest.raises(ConditionFailed):
            await log.publish(namespace, "OrderPlaced", {}, fail_if_match=mine)
    assert network.happened == ["lose"]


@both
@pytest.mark.parametrize(("lost", "expected"), [([CUT], OutcomeUnknown), ([], Unauthenticated)])
async def test_a_refusal_after_a_lost_attempt_tells_nothing_of_that_one(
    start_service: StartService, half: str, lost: list[Fault], expected: type[Exception]
) -> None:
    service = await start_service(auth="keys")
    keys = [(await make_key(service.database_url, EVERYTHING_GRANTED)).secret, "fwk_ended"] if lost else ["fwk_ended"]

    async def next_key() -> str:
        return keys.pop(0)

    key = next_key if half == "tasks" else lambda: keys.pop(0)
    async with bad_network(service.port, lost) as (_, url), client_of(half, url, key=key) as log:
        with pytest.raises(expected):
            await log.publish("shop", "OrderPlaced", {})
    assert keys == []


@both
async def test_facts_and_queries_are_checked_before_they_are_sent(
    service: ServiceProcess, half: str, namespace: str
) -> None:
    async with client_of(half, service.url) as log:
        with pytest.raises(ValueError, match="JSON compliant"):
            await log.publish(namespace, "OrderPlaced", float("nan"))
        with pytest.raises(ValueError, match="would match every fact"):
            await log.publish(namespace, "OrderPlaced", {}, fail_if_match=[])
        with pytest.raises(ValueError, match="Extra data"):
            Json('1},{"namespace":"admin","type":"Evil","payload":2')
        with pytest.raises(TypeError, match="a date is not JSON"):
            await log.publish(namespace, "OrderPlaced", {"when": date(2026, 12, 1)})
        with pytest.raises(TypeError, match="a set is not JSON"):
            await log.publish(namespace, "OrderPlaced", {"a", "b"})
        with pytest.raises(TypeError, match="a decision is a NewFact"):
            await log.decide(Query(namespaces=[namespace]), lambda facts: {"type": "OrderPlaced"})
        with pytest.raises(TypeError, match="aggregate_ids"):
            await log.publish(namespace, "OrderPlaced", {}, aggregate_ids="order-1")
        with pytest.raises(TypeError, match="fail_if_match"):
            await log.publish(namespace, "OrderPlaced", {}, after="start")
    with pytest.raises(ValueError, match="expected the address"):
        client_of(half, "127.0.0.1:8000")
    with pytest.raises(TypeError, match=r"types: expected a list, such as \['A'\]"):
        Query(types="A")  # type: ignore[arg-type]


@both
async def test_refusals_are_errors_by_their_code(service: ServiceProcess, half: str, namespace: str) -> None:
    async with client_of(half, service.url) as log:
        first = await log.publish(namespace, "OrderPlaced", {"n": 1}, id=str(uuid4()))
        with pytest.raises(FactIdConflict) as conflict:
            await log.publish(namespace, "OrderPlaced", {"n": 2}, id=first.facts[0].id)
        assert conflict.value.members["ids"] == [first.facts[0].id]
        with pytest.raises(ConditionFailed) as failed:
            await log.publish(namespace, "OrderPlaced", {}, fail_if_match=Query(namespaces=[namespace]))
        assert failed.value.members["position"] == first.position
        with pytest.raises(InvalidRequest) as invalid:
            await log.publish("not a name", "OrderPlaced", {})
        assert str(invalid.value).count("/facts/0/namespace") == 1
        with pytest.raises(FactNotFound):
            await log.fact(str(uuid4()))


@both
async def test_a_payload_that_is_json_text_is_kept_to_the_byte(
    service: ServiceProcess, half: str, namespace: str
) -> None:
    text = '{ "total": 1.50, "total": 2 }'
    async with client_of(half, service.url) as log:
        published = await log.publish(namespace, "OrderPlaced", Json(text))
        events = log.events(Query(namespaces=[namespace]))
        event = await anext(events)
        await events.aclose()
    assert f'"payload":{text}' in event.data
    assert event.cursor == published.cursor


@both
async def test_what_another_server_answers_is_no_answer(half: str) -> None:
    with gateway(501, "<html>") as (url, _):
        async with client_of(half, url, give_up_after=0.2) as log:
            with pytest.raises(UnexpectedAnswer) as caught:
                await log.page()
            assert caught.value.status == 501
            with pytest.raises(OutcomeUnknown):
                await log.publish("shop", "OrderPlaced", {})


@both
async def test_a_stream_that_is_silent_is_opened_again(
    service: ServiceProcess, half: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("_async", "_sync"):
        monkeypatch.setattr(f"factwire_client.{module}.client.SILENCE_SECONDS", 1)
    async with client_of(half, service.url) as log:
        await log.publish(namespace, "OrderPlaced", {})
    async with bad_network(service.port, [Fault("stall", 300)]) as (network, url), client_of(half, url) as log:
        facts = log.follow(Query(namespaces=[namespace]))
        assert (await anext(facts)).namespace == namespace
        await facts.aclose()
    assert network.happened == ["stall"]
    assert network.connections == 2


@both
async def test_a_follower_stops_where_going_on_would_be_wrong(start_service: StartService, half: str) -> None:
    service = await start_service()
    async with client_of(half, service.url) as log:
        cursor = (await log.publish_all([NewFact("shop", "OrderPlaced", n) for n in range(5)])).cursor
        with pytest.raises(CursorAhead):
            _ = [fact async for fact in log.follow(after="1:999")]
        await raise_epoch(service.database_url, forked_after=3)

        async def until_the_new_epoch_is_seen() -> None:
            while True:
                _ = [fact async for fact in log.follow(after=cursor, until_caught_up=True)]
                await asyncio.sleep(0.05)

        with pytest.raises(CursorForked) as forked:
            await until_the_new_epoch_is_seen()
        assert forked.value.members["forked_after"] == 3


@both
async def test_a_follower_gives_up_only_if_it_is_told_to(half: str) -> None:
    async with client_of(half, f"http://127.0.0.1:{free_port()}") as log:
        with pytest.raises(Unreachable):
            _ = [fact async for fact in log.follow(give_up_after=0.5)]


@both
async def test_decisions_are_bounded(service: ServiceProcess, half: str, namespace: str) -> None:
    query = Query(namespaces=[namespace])
    asked: list[int] = []

    async with client_of(half, service.url) as log, client_of("blocking", service.url) as other:
        await log.publish_all([NewFact(namespace, "OrderPlaced", n) for n in range(3)])
        with pytest.raises(TooManyFacts):
            await log.decide(query, lambda facts: None, facts_max=2)
        assert await log.decide(query, lambda facts: None) is None

        def overtaken(facts: list[Any]) -> NewFact:
            """Another one is always faster."""
            asked.append(len(facts))
            other._log.publish(namespace, "OrderPlaced", {})
            return NewFact(namespace, "OrderPlaced", {})

        with pytest.raises(ConditionFailed):
            await log.decide(query, overtaken, attempts=3)
    assert asked == [3, 4, 5]


@both
async def test_pages_and_large_queries(service: ServiceProcess, half: str, namespace: str) -> None:
    many = [Query(namespaces=[namespace], aggregate_ids=[f"order-{n}"]) for n in range(90)]
    async with client_of(half, service.url) as log:
        facts = [NewFact(namespace, "OrderPlaced", {"n": n}, aggregate_ids=[f"order-{n}"]) for n in range(600)]
        await log.publish_all(facts)
        assert [fact.payload["n"] async for fact in log.read(many)] == list(range(90))
        newest = [fact.payload["n"] async for fact in log.read(Query(namespaces=[namespace]), newest_first=True)]
        assert newest == list(reversed(range(600)))
        assert [fact.payload["n"] async for fact in log.follow(many, until_caught_up=True)] == list(range(90))
        page = await log.page(many[0], limit=1)
        assert dataclasses.replace(page.facts[0], cursor="") == dataclasses.replace(
            await log.fact(page.facts[0].position), cursor=""
        )
        assert (await log.position()).head >= page.position
        assert (await log.ticket(many[0])).startswith("fwt_")
