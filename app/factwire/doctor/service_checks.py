"""Checks for configuration mistakes on the path to the service: through the public URL, including proxies."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from statistics import median
from typing import TypeAlias
from uuid import uuid4

import httpx

from factwire.doctor.database_measurements import LogHead, read_log_head
from factwire.doctor.finding import Finding, note, ok, wrong
from factwire.domain.position import START, Cursor, Position, parse_cursor
from factwire.setting_values import is_loopback
from factwire.store.connection import Connection

SAMPLES = 5
PAYLOAD_BYTES = 1024 * 1024
HEARTBEAT_SECONDS = 3
LONGEST_HEARTBEAT_SECONDS = 60
HELD_SECONDS = 1.0
SLOW_SECONDS = 0.25
COMPARISONS = 2
COMPARE_SECONDS = 1.0

# Longer than one heartbeat: if nothing arrives for so long, something on the path buffers the stream.
TIMEOUT = httpx.Timeout(connect=5, read=HEARTBEAT_SECONDS + 2, write=10, pool=5)

CUT = (httpx.RemoteProtocolError, httpx.ReadError)

INSIDE = "run this with the address of a process itself as --url, for instance inside the cluster, to have it checked"

UNBUFFERED = "let the proxy pass each part of /v1/stream on at once (nginx: proxy_buffering off; gzip off)"


Parameters: TypeAlias = dict[str, str | int]


def new_client(url: str, credentials: Mapping[str, str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=TIMEOUT, headers=credentials)


async def look_at_door(client: httpx.AsyncClient) -> AsyncIterator[Finding]:
    """Run the checks that all others depend on. Raises httpx.TransportError if nothing answers."""
    found = [finding async for finding in look_at_service(client)]
    for finding in found:
        yield finding
    if found[-1].verdict != "wrong":
        async for finding in look_at_access(client):
            yield finding


async def look_at_service(client: httpx.AsyncClient) -> AsyncIterator[Finding]:
    """Check that a Factwire service answers and is ready. Raises httpx.TransportError if nothing answers."""
    response = await client.get("/readyz")
    try:
        readiness = response.json()
        ready, detail = readiness["ready"], f"schema {readiness['schema']}, database {readiness['database']}"
    except (ValueError, TypeError, KeyError):
        yield await look_without_readyz(client, response)
        return
    if not ready:
        yield wrong("service", f"not ready: {detail}", "run `factwire migrate`, or wait until it has restarted")
    elif readiness["database"] == "standby":
        yield note("service", f"ready, {detail}: nothing is published here", "publish through a service on the primary")
    elif readiness["database"] != "reachable":
        yield wrong("service", detail, "see in the log of the service why it does not reach its database")
    else:
        yield ok("service", f"ready, {detail}, {response.http_version}")


async def look_without_readyz(client: httpx.AsyncClient, unready: httpx.Response) -> Finding:
    """Check a service without /readyz: many proxies expose only /v1. `unready` is the answer to /readyz."""
    response = await client.get("/v1/position")
    if reported_position(response) is not None:
        detail = f"answers, {response.http_version}; whether it is ready cannot be seen: no /readyz is published here"
        return note("service", detail, INSIDE)
    if '"urn:factwire:problem:' in response.text:
        detail = f"answers {response.status_code} to /v1/position: {response.text[:200]}"
        return wrong("service", detail, "see in the log of the service why")
    if unready.is_redirect:
        change = "give the URL to which it leads: a redirected publish arrives as a GET"
        return wrong("service", f"redirects to {unready.headers.get('location', '')}", change)
    detail = f"a program that is not Factwire answers {unready.status_code} to /readyz, {response.status_code} to /v1"
    return wrong("service", detail, "correct FACTWIRE_URL, or let the proxy lead to the service")


def reported_position(response: httpx.Response) -> LogHead | None:
    """Log head from an answer of /v1/position; None if the answer does not hold one."""
    try:
        detail = response.raise_for_status().json()
        return LogHead(
            Cursor(parse_cursor(detail["cursor"]).epoch, Position(detail["head"])), detail.get("published_at")
        )
    except (httpx.HTTPStatusError, ValueError, TypeError, KeyError):
        return None


async def compare_logs(client: httpx.AsyncClient, connection: Connection) -> AsyncIterator[Finding]:
    """Check that service and database have the same log: its head lies between two reads of the database."""
    end = Cursor(0, START)
    for comparison in range(COMPARISONS):
        await asyncio.sleep(comparison * COMPARE_SECONDS)
        before = await read_log_head(connection, at=START)
        response = await client.get("/v1/position")
        there = reported_position(response)
        if there is None:
            change = "see in the log of the service why, and run this again"
            yield note("log", f"cannot be compared: /v1/position is answered {response.status_code}", change)
            return
        after = await read_log_head(connection, at=there.end.position)
        if not is_between(before, there, after):
            detail = f"the service is at {there.end}, the database at {after.end if after else 'no log at all'}"
            change = "let FACTWIRE_DATABASE_URL and FACTWIRE_URL lead to one log: one of them is another's"
            yield wrong("log", f"service and database are two logs: {detail}", change)
            return
        end = there.end
    empty = "both logs are empty, so they cannot be distinguished"
    yield ok("log", f"service and database are both at {end}" if end.position else empty)


def is_between(before: LogHead | None, there: LogHead, after: LogHead | None) -> bool:
    """True if the head `there` lies between two heads of the same log.

    Between the reads, facts may be published and epochs may begin, but neither is undone. A fact has one publication
    time.
    """
    return (
        before is not None
        and after is not None
        and before.end.epoch <= there.end.epoch <= after.end.epoch
        and before.end.position <= there.end.position <= after.end.position
        and there.published_at == after.published_at
    )


async def look_at_access(client: httpx.AsyncClient) -> AsyncIterator[Finding]:
    """Check that the service admits the doctor, and report if it also admits clients without credentials."""
    if (await client.get("/v1/position")).status_code == httpx.codes.UNAUTHORIZED:
        yield wrong("access", "the service asks for credentials", "give FACTWIRE_KEY a key that may read")
        return
    async with httpx.AsyncClient(base_url=client.base_url, timeout=TIMEOUT) as stranger:
        let_in = (await stranger.get("/v1/position")).is_success
    if let_in and not is_loopback(client.base_url.host):
        yield note("access", "every client that reaches the service may do everything", "set FACTWIRE_AUTH=keys")
    else:
        yield ok("access", "open, on a loopback address" if let_in else "credentials are asked for")


async def look_at_way(client: httpx.AsyncClient) -> AsyncIterator[Finding]:
    host = client.base_url.host
    if client.base_url.scheme == "https" or is_loopback(host):
        yield ok("way", client.base_url.scheme)
    else:
        yield note("way", "not encrypted: facts can be read on the way", "give the service a URL with https")


async def read_metrics(client: httpx.AsyncClient) -> AsyncIterator[Finding]:
    response = await client.get("/metrics")
    values = {name: value for name, _, value in (line.partition(" ") for line in response.text.splitlines())}
    if not response.is_success or "factwire_forks" not in values:
        detail = "forks and missing notifications cannot be seen: no /metrics is published here"
        yield note("state", detail, INSIDE)
    elif float(values["factwire_forks"]) > 0:
        yield wrong("state", "the history has forked", "see docs/operations.md, Lost history: `factwire epoch raise`")
    elif float(values.get("factwire_listener_connected", 1)) == 0:
        yield note("state", "the service gets no notifications", "give it a direct URL as FACTWIRE_LISTEN_URL")
    else:
        yield ok("state", "notifications arrive, no fork was noticed")


async def time_answers(client: httpx.AsyncClient) -> AsyncIterator[Finding]:
    taken = []
    for _ in range(SAMPLES):
        began = time.perf_counter()
        (await client.get("/v1/position")).raise_for_status()
        taken.append(time.perf_counter() - began)
    detail = f"/v1/position takes {median(taken) * 1000:.1f} ms"
    if median(taken) > SLOW_SECONDS:
        yield note("answers", detail, "see which is slow: the way, the service or the database (its lines are above)")
    else:
        yield ok("answers", detail)


async def send_large_body(client: httpx.AsyncClient) -> AsyncIterator[Finding]:
    """Send a fact that the service must refuse, as its namespace is no name; the payload has 1 MiB, the body more."""
    content = b'{"facts":[{"namespace":"?","type":"Checked","payload":"%b"}]}' % (b"x" * (PAYLOAD_BYTES - 2))
    response = await client.post("/v1/facts", content=content, headers={"content-type": "application/json"})
    detail = f"1 MiB is answered {response.status_code}"
    if '"urn:factwire:problem:' not in response.text:
        yield wrong(
            "body", f"{detail}, not by the service", "let the proxy pass 4 MiB (nginx: client_max_body_size 4m)"
        )
    elif response.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
        yield note("body", f"{detail} by the service", "raise FACTWIRE_BODY_BYTES_MAX if facts are to be that large")
    else:
        yield ok("body", "1 MiB reaches the service")


async def watch_stream(client: httpx.AsyncClient) -> AsyncIterator[Finding]:
    """Check the headers of a stream, its first line, which must arrive at once, and a heartbeat."""
    awaited, began = "stream", time.perf_counter()
    try:
        async with client.stream("GET", "/v1/stream", params=unmatched_parameters(HEARTBEAT_SECONDS)) as response:
            yield judge_headers(response)
            async for line in response.aiter_lines():
                seconds = time.perf_counter() - began
                if awaited == "stream" and line == ":ok":
                    yield judge_start(seconds)
                    awaited = "heartbeat"
                elif line in {":", "event: position"}:
                    yield ok("heartbeat", f"asked for every {HEARTBEAT_SECONDS} s, came after {seconds:.1f} s")
                    return
        change = "read the log of the service (is it overloaded or stopping?) and the time limits of the proxy"
        yield wrong(awaited, "the stream ended at once", change)
    except httpx.TimeoutException:
        yield wrong(awaited, f"nothing arrives for {TIMEOUT.read:g} s: the stream is buffered on the way", UNBUFFERED)
    except CUT:
        yield wrong(
            awaited, "the stream is cut", "let the proxy wait longer than the heartbeats (nginx: proxy_read_timeout)"
        )


def judge_headers(response: httpx.Response) -> Finding:
    headers = response.headers
    faults = [] if response.status_code == httpx.codes.OK else [f"status {response.status_code}"]
    if not headers.get("content-type", "").startswith("text/event-stream"):
        faults.append(f"content-type {headers.get('content-type', 'none')}")
    if "content-encoding" in headers:
        faults.append(f"content-encoding {headers['content-encoding']}")
    if "no-store" not in headers.get("cache-control", ""):
        faults.append(f"cache-control {headers.get('cache-control', 'none')}")
    if faults:
        change = "let the proxy forward /v1/stream unchanged: no compression, no cache, no error page"
        return wrong("headers", ", ".join(faults), change)
    return ok("headers", "a stream, neither compressed nor cached")


def judge_start(seconds: float) -> Finding:
    detail = f"the first line arrives after {seconds * 1000:.0f} ms"
    return ok("stream", detail) if seconds < HELD_SECONDS else wrong("stream", f"{detail}: it is held back", UNBUFFERED)


async def measure_delivery(client: httpx.AsyncClient, *, namespace: str) -> AsyncIterator[Finding]:
    """Publish a few facts and time their delivery to a stream. The facts stay, as facts are immutable."""
    taken = []
    parameters: Parameters = {"after": "head", "heartbeat": HEARTBEAT_SECONDS, "namespace": namespace}
    try:
        async with client.stream("GET", "/v1/stream", params=parameters) as response:
            response.raise_for_status()
            lines = response.aiter_lines()
            await line_with(lines, "event: caught-up")
            for _ in range(SAMPLES):
                id = str(uuid4())
                fact = {"namespace": namespace, "type": "Probed", "id": id, "payload": None}
                began = time.perf_counter()
                publishing = asyncio.create_task(client.post("/v1/facts", json={"facts": [fact]}))
                arriving = asyncio.create_task(line_with(lines, f'"id":"{id}"'))
                published = await publishing
                if not published.is_success:
                    arriving.cancel()
                    detail = f"publishing is answered {published.status_code}: {published.text[:200]}"
                    yield wrong("delivery", detail, "give another namespace, or see the lines above")
                    return
                taken.append(await arriving - began)
    except httpx.TimeoutException:
        yield wrong("delivery", "a published fact does not arrive on the stream", UNBUFFERED)
        return
    detail = f"a published fact arrives after {median(taken) * 1000:.1f} ms, at most {max(taken) * 1000:.1f} ms"
    if median(taken) > SLOW_SECONDS:
        yield note("delivery", detail, "see above: missing notifications, a buffering proxy, or slow commits")
    else:
        yield ok("delivery", detail)


async def stay_idle(client: httpx.AsyncClient, *, seconds: float, heartbeat_seconds: float) -> AsyncIterator[Finding]:
    """Check that a stream without heartbeats stays open for `seconds`. `heartbeat_seconds` is the usual interval."""
    began, cut = time.perf_counter(), False
    try:
        async with (
            asyncio.timeout(seconds),
            client.stream(
                "GET", "/v1/stream", params=unmatched_parameters(LONGEST_HEARTBEAT_SECONDS), timeout=seconds + 5
            ) as response,
        ):
            async for _ in response.aiter_lines():
                pass
    except TimeoutError:
        yield ok("idle", f"a stream stays open for {seconds:g} s")
        return
    except CUT:
        cut = True
    lasted = time.perf_counter() - began
    detail = f"an idle stream {'is cut' if cut else 'ends'} after {lasted:.1f} s"
    change = (
        "let the proxy wait longer (nginx: proxy_read_timeout), and limit no response as a whole (Envoy: timeout 0s)"
    )
    if cut and lasted <= heartbeat_seconds + 1:
        yield wrong("idle", detail, change)
    else:
        yield note("idle", f"{detail}; with a heartbeat every {heartbeat_seconds:g} s it may last", change)


def unmatched_parameters(heartbeat_seconds: int) -> Parameters:
    """Parameters of a stream that matches no fact."""
    return {"after": "head", "heartbeat": heartbeat_seconds, "aggregate_id": f"doctor-{uuid4()}"}


async def line_with(lines: AsyncIterator[str], part: str) -> float:
    """Time at which a line that contains `part` arrived. Raises httpx.RemoteProtocolError if the stream ends."""
    async for line in lines:
        if part in line:
            return time.perf_counter()
    raise httpx.RemoteProtocolError("the stream ended")
