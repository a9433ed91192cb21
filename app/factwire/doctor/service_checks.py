"""What a team would get wrong about the way to its service: checks through the public URL, proxies included."""

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
from factwire.store.pools import Connection

SAMPLES = 5
PAYLOAD_BYTES = 1024 * 1024
HEARTBEAT_SECONDS = 3
LONGEST_HEARTBEAT_SECONDS = 60
HELD_SECONDS = 1.0
SLOW_SECONDS = 0.25
COMPARISONS = 2
COMPARE_SECONDS = 1.0

# More than one heartbeat: where nothing arrives for so long, something holds the stream back.
TIMEOUT = httpx.Timeout(connect=5, read=HEARTBEAT_SECONDS + 2, write=10, pool=5)

CUT = (httpx.RemoteProtocolError, httpx.ReadError)

INSIDE = "run this with the address of a process itself as --url, for instance inside the cluster, to have it checked"

UNBUFFERED = "let the proxy pass each part of /v1/stream on at once (nginx: proxy_buffering off; gzip off)"


Parameters: TypeAlias = dict[str, str | int]


def new_client(url: str, credentials: Mapping[str, str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=TIMEOUT, headers=credentials)


async def look_at_door(client: httpx.AsyncClient) -> AsyncIterator[Finding]:
    """What has to be well before anything else can be asked. Raises httpx.TransportError where nobody answers."""
    found = [finding async for finding in look_at_service(client)]
    for finding in found:
        yield finding
    if found[-1].verdict != "wrong":
        async for finding in look_at_access(client):
            yield finding


async def look_at_service(client: httpx.AsyncClient) -> AsyncIterator[Finding]:
    """Whether a Factwire answers there and is ready. Raises httpx.TransportError where nobody answers."""
    response = await client.get("/readyz")
    try:
        readiness = response.json()
        ready, told = readiness["ready"], f"schema {readiness['schema']}, database {readiness['database']}"
    except (ValueError, TypeError, KeyError):
        yield await look_without_readyz(client, response)
        return
    if not ready:
        yield wrong("service", f"not ready: {told}", "run `factwire migrate`, or wait until it has started anew")
    elif readiness["database"] == "standby":
        yield note("service", f"ready, {told}: nothing is published here", "publish through a service on the primary")
    elif readiness["database"] != "reachable":
        yield wrong("service", told, "see in the log of the service why it does not reach its database")
    else:
        yield ok("service", f"ready, {told}, {response.http_version}")


async def look_without_readyz(client: httpx.AsyncClient, unready: httpx.Response) -> Finding:
    """Many publish /v1 only. `unready` is what was answered to /readyz."""
    response = await client.get("/v1/position")
    if reported_position(response) is not None:
        told = f"answers, {response.http_version}; whether it is ready cannot be seen: no /readyz is published here"
        return note("service", told, INSIDE)
    if '"urn:factwire:problem:' in response.text:
        told = f"answers {response.status_code} to /v1/position: {response.text[:200]}"
        return wrong("service", told, "see in the log of the service why")
    if unready.is_redirect:
        change = "give the URL to which it leads: a redirected publish arrives as a GET"
        return wrong("service", f"redirects to {unready.headers.get('location', '')}", change)
    told = f"something that is no Factwire answers {unready.status_code} to /readyz, {response.status_code} to /v1"
    return wrong("service", told, "correct FACTWIRE_URL, or let the proxy lead to the service")


def reported_position(response: httpx.Response) -> LogHead | None:
    """What an answer to /v1/position says; None where it is none."""
    try:
        told = response.raise_for_status().json()
        return LogHead(Cursor(parse_cursor(told["cursor"]).epoch, Position(told["head"])), told.get("published_at"))
    except (httpx.HTTPStatusError, ValueError, TypeError, KeyError):
        return None


async def compare_logs(client: httpx.AsyncClient, connection: Connection) -> AsyncIterator[Finding]:
    """Whether service and database are one log: what the service says lies between two looks at the database."""
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
            told = f"the service is at {there.end}, the database at {after.end if after else 'no log at all'}"
            change = "let FACTWIRE_DATABASE_URL and FACTWIRE_URL lead to one log: one of them is another's"
            yield wrong("log", f"service and database are two logs: {told}", change)
            return
        end = there.end
    empty = "both logs are empty, which cannot be told apart"
    yield ok("log", f"service and database are both at {end}" if end.position else empty)


def is_between(before: LogHead | None, there: LogHead, after: LogHead | None) -> bool:
    """Facts may be published and epochs begin meanwhile, but none is taken back; and one fact has one time."""
    return (
        before is not None
        and after is not None
        and before.end.epoch <= there.end.epoch <= after.end.epoch
        and before.end.position <= there.end.position <= after.end.position
        and there.published_at == after.published_at
    )


async def look_at_access(client: httpx.AsyncClient) -> AsyncIterator[Finding]:
    """Whether the service lets the doctor in, and anybody else."""
    if (await client.get("/v1/position")).status_code == httpx.codes.UNAUTHORIZED:
        yield wrong("access", "the service asks for credentials", "give FACTWIRE_KEY a key that may read")
        return
    async with httpx.AsyncClient(base_url=client.base_url, timeout=TIMEOUT) as stranger:
        let_in = (await stranger.get("/v1/position")).is_success
    if let_in and not is_loopback(client.base_url.host):
        yield note("access", "whoever reaches the service may do everything", "set FACTWIRE_AUTH=keys")
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
        told = "forks and missing notifications cannot be seen: no /metrics is published here"
        yield note("state", told, INSIDE)
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
    told = f"/v1/position takes {median(taken) * 1000:.1f} ms"
    if median(taken) > SLOW_SECONDS:
        yield note("answers", told, "see which is slow: the way, the service or the database (its lines are above)")
    else:
        yield ok("answers", told)


async def send_large_body(client: httpx.AsyncClient) -> AsyncIterator[Finding]:
    """A fact that the service must refuse, since its type is no name; with its payload of 1 MiB, the body is larger."""
    content = b'{"facts":[{"namespace":"doctor","type":"?","payload":"%b"}]}' % (b"x" * (PAYLOAD_BYTES - 2))
    response = await client.post("/v1/facts", content=content, headers={"content-type": "application/json"})
    told = f"1 MiB is answered {response.status_code}"
    if '"urn:factwire:problem:' not in response.text:
        yield wrong("body", f"{told}, not by the service", "let the proxy pass 4 MiB (nginx: client_max_body_size 4m)")
    elif response.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
        yield note("body", f"{told} by the service", "raise FACTWIRE_BODY_BYTES_MAX if facts are to be that large")
    else:
        yield ok("body", "1 MiB reaches the service")


async def watch_stream(client: httpx.AsyncClient) -> AsyncIterator[Finding]:
    """Headers, the first line, which has to come at once, and a heartbeat."""
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
        change = "see in the log of the service whether it is overloaded or stopping, and what the proxy cuts"
        yield wrong(awaited, "the stream ended at once", change)
    except httpx.TimeoutException:
        yield wrong(awaited, f"nothing arrives for {TIMEOUT.read:g} s: something holds the stream back", UNBUFFERED)
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
        change = "let the proxy pass /v1/stream on as it is: no compression, no cache, no page of its own"
        return wrong("headers", ", ".join(faults), change)
    return ok("headers", "a stream, neither compressed nor cached")


def judge_start(seconds: float) -> Finding:
    told = f"the first line arrives after {seconds * 1000:.0f} ms"
    return ok("stream", told) if seconds < HELD_SECONDS else wrong("stream", f"{told}: it is held back", UNBUFFERED)


async def measure_delivery(client: httpx.AsyncClient, *, namespace: str) -> AsyncIterator[Finding]:
    """Publish a few facts and see them come on a stream. They stay: facts are immutable."""
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
                    told = f"publishing is answered {published.status_code}: {published.text[:200]}"
                    yield wrong("delivery", told, "give another namespace, or see the lines above")
                    return
                taken.append(await arriving - began)
    except httpx.TimeoutException:
        yield wrong("delivery", "a published fact does not arrive on the stream", UNBUFFERED)
        return
    told = f"a published fact arrives after {median(taken) * 1000:.1f} ms, at most {max(taken) * 1000:.1f} ms"
    if median(taken) > SLOW_SECONDS:
        yield note(
            "delivery", told, "see above: notifications that do not arrive, a proxy that holds back, or slow commits"
        )
    else:
        yield ok("delivery", told)


async def stay_idle(client: httpx.AsyncClient, *, seconds: float, heartbeat_seconds: float) -> AsyncIterator[Finding]:
    """Whether a stream without heartbeats stays open for so long. `heartbeat_seconds` is what it has otherwise."""
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
    told = f"an idle stream {'is cut' if cut else 'ends'} after {lasted:.1f} s"
    change = (
        "let the proxy wait longer (nginx: proxy_read_timeout), and limit no response as a whole (Envoy: timeout 0s)"
    )
    if cut and lasted <= heartbeat_seconds + 1:
        yield wrong("idle", told, change)
    else:
        yield note("idle", f"{told}; with a heartbeat every {heartbeat_seconds:g} s it may last", change)


def unmatched_parameters(heartbeat_seconds: int) -> Parameters:
    """The parameters of a stream on which no fact will come."""
    return {"after": "head", "heartbeat": heartbeat_seconds, "aggregate_id": f"doctor-{uuid4()}"}


async def line_with(lines: AsyncIterator[str], part: str) -> float:
    """The moment at which such a line came."""
    async for line in lines:
        if part in line:
            return time.perf_counter()
    raise httpx.RemoteProtocolError("the stream ended")
