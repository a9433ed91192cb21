"""What a running service tells about itself: ids of requests, log lines, metrics and traces."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.conftest import StartService
from tests.e2e.wire import streaming
from tests.support.builders import new_fact, publication
from tests.support.service import ROOT, ServiceProcess, clean_environment, free_port, settings_of
from tests.support.waiting import until

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"


def client_of(service: ServiceProcess) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=service.url, timeout=30, verify=False)


async def value_of(client: httpx.AsyncClient, sample: str) -> float:
    """The value of one line of the metrics; 0 where there is none yet."""
    text = (await client.get("/metrics")).text
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize("path", ["/v1/facts", "/v1/facts/at/1", "/nowhere"])
async def test_a_request_has_the_id_that_it_came_with(start_service: StartService, path: str) -> None:
    async with client_of(await start_service()) as client:
        answer = await client.get(path, headers={"x-request-id": "from-the-proxy.1"})
        assert answer.headers.get_list("x-request-id") == ["from-the-proxy.1"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "é"])
async def test_an_id_that_is_none_is_replaced_by_one(start_service: StartService, given: str) -> None:
    async with client_of(await start_service()) as client:
        headers = {b"x-request-id": given.encode()}
        first, second = [(await client.get("/v1/position", headers=headers)).headers["x-request-id"] for _ in range(2)]
        assert first != second
        assert {first, second}.isdisjoint({given})


async def test_requests_are_logged_as_json_lines_with_their_ids_and_without_their_queries(
    start_service: StartService,
) -> None:
    service = await start_service(log_format="json", log_requests=True)
    async with client_of(service) as client:
        published = await client.post("/v1/facts", json=publication())
        missing = await client.get("/v1/facts/at/99?hidden=1", headers={"x-request-id": "seen"})
        async with streaming(service.url) as stream:
            await stream.read_until(lambda body: b"caught-up" in body)
    lines = [json.loads(line) for line in service.log.splitlines()]
    told = {line["request_id"]: line for line in lines if line["logger"] == "factwire.api.middleware.request_id"}
    line = told[published.headers["x-request-id"]]
    assert (line["method"], line["path"], line["status"], line["level"]) == ("POST", "/v1/facts", 201, "INFO")
    assert line["milliseconds"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])
    assert (told["seen"]["path"], told["seen"]["status"]) == ("/v1/facts/at/99", missing.status_code)
    assert "hidden" not in service.log


@pytest.mark.parametrize("port", ["0", "none", "1"])
def test_all_that_a_command_says_is_json_where_that_is_wanted(port: str) -> None:
    """It begins before its database can be reached, or ends because of a setting or of an address."""
    url = f"postgresql://postgres@127.0.0.1:{free_port()}/log"
    host = "192.0.2.1" if port == "1" else "127.0.0.1"
    settings = settings_of(database_url=url, log_format="json", port=port, host=host, auth="none")
    process = subprocess.Popen(
        [sys.executable, "-m", "factwire", "serve"],
        cwd=ROOT,
        env=clean_environment() | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    told = [json.loads(process.stdout.readline())]
    if port == "0":
        told += [json.loads(process.stdout.readline()) for _ in range(3)]
        process.terminate()
    told += map(json.loads, process.stdout)
    process.stdout.close()
    assert process.wait(30) == {"0": 0, "none": 2, "1": 1}[port]
    messages = " ".join(line["message"] for line in told)
    expected = {"0": "Factwire serves http", "none": "FACTWIRE_PORT: ", "1": "cannot listen on 192.0.2.1 port 1"}
    assert expected[port] in messages
    assert ("cannot be reached yet" in messages) == (port == "0")


async def test_no_request_can_add_a_line_to_the_log(start_service: StartService) -> None:
    service = await start_service(log_requests=True)
    async with client_of(service) as client:
        await client.get("/v1/facts/%0d%0aforged%0A%1b%e2%80%a8", headers={"x-request-id": "looked-for"})

    async def is_logged() -> bool:
        return "looked-for" in service.log

    await until(is_logged)
    [line] = [line for line in service.log.splitlines() if "forged" in line]
    assert "GET /v1/facts/%0d%0aforged%0A%1b%e2%80%a8 400" in line


async def test_publishes_are_counted_by_outcome_and_timed_by_stage(start_service: StartService) -> None:
    async with client_of(await start_service()) as client:
        fact = new_fact(aggregate_ids=["order-1"])
        await client.post("/v1/facts", json=publication(fact))
        await client.post("/v1/facts", json=publication(fact))
        condition = {"fail_if_match": [{"aggregate_ids": ["order-1"]}]}
        await client.post("/v1/facts", json={**publication(), "condition": condition})
        for outcome in ("published", "replayed", "condition-failed"):
            assert await value_of(client, f'factwire_publishes_total{{outcome="{outcome}"}}') == 1
        assert await value_of(client, 'factwire_publish_seconds_count{stage="whole"}') == 3
        for stage in ("wait", "append"):
            assert await value_of(client, f'factwire_publish_seconds_sum{{stage="{stage}"}}') > 0


async def test_a_publish_that_is_refused_before_the_queue_is_a_line_of_the_log_and_nothing_else(
    start_service: StartService,
) -> None:
    service = await start_service(log_requests=True)
    async with client_of(service) as client:
        before = (await client.get("/metrics")).text
        assert (await client.post("/v1/facts", json={"facts": []})).status_code == 422
        after = (await client.get("/metrics")).text
    publishes = [re.findall(r"^factwire_publishes_total.*", text, re.MULTILINE) for text in (before, after)]
    assert publishes[0] == publishes[1]
    assert "POST /v1/facts 422" in service.log


async def test_what_can_happen_is_counted_from_nothing_on(start_service: StartService) -> None:
    """Prometheus sees no increase where a series begins with its first event."""
    async with client_of(await start_service()) as client:
        told = (await client.get("/metrics")).text
    assert 'factwire_publishes_total{outcome="outcome-unknown"} 0.0' in told
    assert 'factwire_streams_ended_total{reason="slow"} 0.0' in told


async def test_streams_are_counted_by_state_and_by_how_they_ended(start_service: StartService) -> None:
    service = await start_service(stream_age_seconds_max=1)
    async with client_of(service) as client:
        async with streaming(service.url) as stream:
            await until(lambda: is_at(client, 'factwire_open_streams{state="live"}', 1))
            await stream.read_to_the_end()
        async with streaming(service.url) as stream:
            await stream.read_until(lambda body: b"caught-up" in body)
        await until(lambda: is_at(client, 'factwire_streams_ended_total{reason="age"}', 1))
        await until(lambda: is_at(client, 'factwire_streams_ended_total{reason="client"}', 1))
        assert await value_of(client, 'factwire_open_streams{state="live"}') == 0


async def test_who_waits_for_the_append_lock_is_told(start_service: StartService) -> None:
    service = await start_service()
    blocker = await asyncpg.connect(service.database_url)
    try:
        async with client_of(service) as client:
            await blocker.execute("select pg_advisory_lock(lock_key) from factwire.log")
            publishing = asyncio.create_task(client.post("/v1/facts", json=publication()))
            await until(lambda: is_at(client, "factwire_append_lock_waiting", 1))
            await blocker.execute("select pg_advisory_unlock(lock_key) from factwire.log")
            assert (await publishing).status_code == 201
            await until(lambda: is_at(client, "factwire_append_lock_waiting", 0))
    finally:
        await blocker.close()


async def test_a_tail_that_cannot_look_falls_behind_in_seconds(start_service: StartService) -> None:
    service = await start_service()
    blocker = await asyncpg.connect(service.database_url)
    try:
        async with client_of(service) as client:

            async def is_behind() -> bool:
                return await value_of(client, "factwire_tail_lag_seconds") > 1

            async def is_at_the_head() -> bool:
                return await value_of(client, "factwire_tail_lag_seconds") < 1

            await until(is_at_the_head)
            await blocker.execute("begin; lock table factwire.log in access exclusive mode")
            await until(is_behind)
            await blocker.execute("rollback")
            await until(is_at_the_head)
    finally:
        await blocker.close()


async def is_at(client: httpx.AsyncClient, sample: str, value: float) -> bool:
    return await value_of(client, sample) == value


@dataclass
class Collected:
    """What a collector of traces has received."""

    spans: dict[str, Span] = field(default_factory=dict)

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"(?i)content-length: (\d+)", head)
                assert length is not None
                sent = ExportTraceServiceRequest.FromString(await reader.readexactly(int(length[1])))
                for resource in sent.resource_spans:
                    for scope in resource.scope_spans:
                        self.spans |= {span.name: span for span in scope.spans}
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()


@asynccontextmanager
async def collector() -> AsyncIterator[tuple[str, Collected]]:
    """A collector that takes OTLP over HTTP, and where it is."""
    collected = Collected()
    server = await asyncio.start_server(collected.receive, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", collected


async def test_a_trace_leads_from_the_publisher_to_the_stream(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with collector() as (url, collected):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        service = await start_service(tracing=True)
        async with client_of(service) as client, streaming(service.url) as stream:
            await stream.read_until(lambda body: b"caught-up" in body)
            await until(lambda: is_at(client, 'factwire_open_streams{state="live"}', 1))
            fact = new_fact(meta={"traceparent": TRACEPARENT})
            await client.post("/v1/facts", json=publication(fact), headers={"traceparent": TRACEPARENT})
            await stream.read_until(lambda body: TRACEPARENT.encode() in body)

            async def both_arrived() -> bool:
                return {"publish", "deliver"} <= set(collected.spans)

            await until(both_arrived)
    for span in collected.spans.values():
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, CALLER)
        assert span.end_time_unix_nano >= span.start_time_unix_nano
    told = {attribute.key: attribute.value.int_value for attribute in collected.spans["deliver"].attributes}
    assert told == {"factwire.position": 1, "factwire.streams": 1}
