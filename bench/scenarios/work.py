"""Workers that share facts: claim, acknowledge, claim again, until everything is done.

The floor is a queue in the same PostgreSQL as teams build it, and as pgmq does (`read`, `delete`): a row for each
message, taken by `for update skip locked`, spoken to directly and without any order.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import asyncpg

from bench.client import ANSWER_SECONDS_MAX, Unexpected, answer_end
from bench.facts import NAMESPACE, request_bytes
from bench.measuring import Measure, Sample
from bench.options import Options
from bench.processes import Target
from bench.scenarios.publish import publish_all
from bench.site import Scenario, Site

_ACKNOWLEDGED = Measure("facts acknowledged", "facts/s", "higher")
_STEADY = Measure("last fifth to first fifth", "", "higher")
_IDLE = Measure("idle CPU", "% of a core", "lower")
_PATH = "/v1/subscriptions/bench"
_LEASE = re.compile(rb'"lease":"([^"]+)"')
_CREATE_QUEUE = """
create table queue (
  id bigint generated always as identity primary key,
  visible_at timestamptz not null default now(),
  reads integer not null default 0,
  message jsonb not null);
create index on queue (visible_at);
"""
_FILL_QUEUE = """
insert into queue (message) select jsonb_build_object('payload', repeat('x', 400)) from generate_series(1, $1)
"""
_READ_QUEUE = """
with next as (
  select id from queue where visible_at <= clock_timestamp() order by id limit $1 for update skip locked
)
update queue q
   set visible_at = clock_timestamp() + interval '30 seconds', reads = q.reads + 1
  from next n where q.id = n.id
returning q.id, q.message
"""
_DELETE_QUEUE = "delete from queue where id = any ($1)"

Turn = Callable[[], Awaitable[int]]


def scenarios(options: Options) -> list[Scenario]:
    few = max(1000, options.worked_facts // 20)  # a multiple of what one request publishes
    return [
        _scenario(1, 100, options.worked_facts),
        _scenario(4, 100, options.worked_facts),
        _scenario(16, 100, options.worked_facts),
        _scenario(4, 100, options.worked_facts, ordering="none"),
        _scenario(4, 1, few),
        _scenario(16, 1, few),
        _scenario(4, 100, options.worked_facts, ordering="none", parked=100_000),
        _scenario(4, 100, 3 * options.worked_facts, snapshot=True),
        _waiting(options),
    ]


def _scenario(
    workers: int, batch: int, facts: int, *, ordering: str = "aggregate", snapshot: bool = False, parked: int = 0
) -> Scenario:
    how = f"{workers} workers acknowledge {facts} facts, {batch} at a time"
    beside = " beside an old snapshot" if snapshot else f" with {parked} parked" if parked else ""
    name = f"{how}, {'without order' if ordering == 'none' else 'in order for each aggregate'}{beside}"
    measures = (_ACKNOWLEDGED, _STEADY) if snapshot else (_ACKNOWLEDGED,)

    async def service(site: Site) -> Sample:
        async with site.service() as target:
            await publish_all(target, facts + parked)
            await _ask(target, "PUT", _PATH, _definition(ordering, facts + parked))
            if parked:
                await _park(target, parked)
            async with _workers(target, workers, batch) as turns, _old_snapshot(site, target, snapshot):
                return await _measure(site, target, turns, facts)

    async def floor(site: Site) -> Sample:
        async with (
            site.service() as target,
            _queue(site, target, facts, workers, batch) as turns,
            _old_snapshot(site, target, snapshot),
        ):
            return await _measure(site, target, turns, facts)

    return Scenario(name, measures, service, floor)


async def _measure(site: Site, target: Target, turns: list[Turn], facts: int) -> Sample:
    done, marks = 0, [(0.0, 0)]
    meter = site.meter(target)
    await meter.start()
    began_at = perf_counter()

    async def work(turn: Turn) -> None:
        nonlocal done
        while done < facts:
            count = await turn()  # before `done` is read: the others add to it meanwhile
            done += count
            marks.append((perf_counter() - began_at, done))

    working = [asyncio.create_task(work(turn)) for turn in turns]
    async with asyncio.timeout(600):  # the first that has nothing left to do ends it: the others may wait for more
        await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
    seconds = perf_counter() - began_at
    cost = await meter.stop()
    for task in working:
        task.cancel()
    for ended in await asyncio.gather(*working, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended
    values = {_ACKNOWLEDGED.name: facts / seconds, _STEADY.name: _rate(marks, 0.8, 1.0) / _rate(marks, 0.0, 0.2)}
    return Sample(values, cost.per("fact", facts))


def _rate(marks: list[tuple[float, int]], begin: float, end: float) -> float:
    """Facts per second between two shares of the time."""
    last = marks[-1][0]
    part = [(at, done) for at, done in marks if begin * last <= at <= end * last]
    return max(1, part[-1][1] - part[0][1]) / max(1e-9, part[-1][0] - part[0][0]) if part else 1.0


def _definition(ordering: str, in_flight: int) -> dict[str, Any]:
    query = {"items": [{"namespaces": [NAMESPACE]}]}
    return {"query": query, "start": "start", "ordering": ordering, "in_flight_max": min(100_000, in_flight)}


async def _park(target: Target, facts: int) -> None:
    """Park the first facts, each by itself: no other waits for them, since their aggregates are claimed with them."""
    while facts > 0:
        claimed = await _ask(target, "POST", f"{_PATH}/claim", {"worker": "w", "limit": min(1000, facts)})
        leases = [each["lease"] for each in claimed["facts"]]
        if not leases:
            return
        await _ask(target, "POST", f"{_PATH}/nack", {"leases": leases, "park": True})
        facts -= len(leases)


@asynccontextmanager
async def _workers(target: Target, workers: int, batch: int) -> AsyncIterator[list[Turn]]:
    """Workers over HTTP, each on a connection of its own."""
    opened = [await asyncio.open_connection("127.0.0.1", target.port, limit=2**24) for _ in range(workers)]

    def turn_of(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> Turn:
        asked = {"worker": f"w{number}", "limit": batch, "wait_seconds": 1}
        claim = request_bytes("POST", f"{_PATH}/claim", body=_json(asked))

        async def turn() -> int:
            leases = _LEASE.findall(await _answer(reader, writer, claim))
            if leases:
                body = b'{"leases":["%b"]}' % b'","'.join(leases)
                await _answer(reader, writer, request_bytes("POST", f"{_PATH}/ack", body=body))
            return len(leases)

        return turn

    try:
        yield [turn_of(reader, writer, number) for number, (reader, writer) in enumerate(opened)]
    finally:
        for _, writer in opened:
            writer.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    writer.write(request)
    received = b""
    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        while answer_end(received) < 0:
            more = await reader.read(2**20)
            if not more:
                raise Unexpected("the service closed the connection of a worker")
            received += more
    if not received.startswith(b"HTTP/1.1 20"):
        raise Unexpected(f"a worker was answered with {received[:600]!r}")
    return received


async def _ask(target: Target, method: str, path: str, body: dict[str, Any]) -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port, limit=2**24)
    try:
        received = await _answer(reader, writer, request_bytes(method, path, body=_json(body)))
        return json.loads(received[received.index(b"\r\n\r\n") + 4 :])
    finally:
        writer.close()


def _json(members: dict[str, Any]) -> bytes:
    return json.dumps(members).encode()


@asynccontextmanager
async def _queue(site: Site, target: Target, facts: int, workers: int, batch: int) -> AsyncIterator[list[Turn]]:
    """Workers of a queue in the database, each on a connection of its own."""
    url = site.cluster.url(target.database)
    opened = [await asyncpg.connect(url) for _ in range(workers)]
    await opened[0].execute(_CREATE_QUEUE)
    await opened[0].execute(_FILL_QUEUE, facts)
    await opened[0].execute("vacuum analyze queue")

    def turn_of(connection: "asyncpg.Connection[Any]") -> Turn:
        async def turn() -> int:
            rows = await connection.fetch(_READ_QUEUE, batch)
            await connection.execute(_DELETE_QUEUE, [row["id"] for row in rows])
            return len(rows)

        return turn

    try:
        yield [turn_of(connection) for connection in opened]
    finally:
        for connection in opened:
            await connection.close()


@asynccontextmanager
async def _old_snapshot(site: Site, target: Target, wanted: bool) -> AsyncIterator[None]:
    """A report that began before the work, and keeps every row version since."""
    if not wanted:
        yield
        return
    connection = await asyncpg.connect(site.cluster.url(target.database))
    transaction = connection.transaction(isolation="repeatable_read")
    await transaction.start()
    await connection.fetchval("select count(*) from factwire.log")
    try:
        yield
    finally:
        await transaction.rollback()
        await connection.close()


def _waiting(options: Options) -> Scenario:
    """Claims that wait, each for another subscription, while nothing is published. The floor is no claim."""
    count = options.waiting_claims

    async def measure(site: Site, claims: int) -> Sample:
        async with site.service() as target:
            waiting = [asyncio.create_task(_wait(target, number)) for number in range(claims)]
            await asyncio.sleep(max(5.0, claims / 100))
            meter = site.meter(target)
            await meter.start()
            await asyncio.sleep(options.idle_seconds)
            cost = await meter.stop()
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            cpu = cost.server_cpu_seconds + cost.postgres_cpu_seconds
            return Sample({_IDLE.name: cpu / cost.seconds * 100})

    async def service(site: Site) -> Sample:
        return await measure(site, count)

    async def floor(site: Site) -> Sample:
        return await measure(site, 0)

    return Scenario(f"{count} claims wait for {count} subscriptions", (_IDLE,), service, floor)


async def _wait(target: Target, number: int) -> None:
    path = f"/v1/subscriptions/bench-{number}"
    await asyncio.sleep(number / 300)
    await _ask(target, "PUT", path, {"query": {"items": [{"types": [f"Never{number}"]}]}})
    while True:
        await _ask(target, "POST", f"{path}/claim", {"worker": "w", "wait_seconds": 40})
