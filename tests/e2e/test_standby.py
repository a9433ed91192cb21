"""A service on a hot standby serves history and streams, and neither lag nor a restart is taken for a lost history."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

import httpx
import pytest

from factwire.doctor.service_checks import look_at_service
from factwire.store.schema.migrate import is_empty, migrate
from tests.e2e.wire import Acknowledged, RawStream, keep_publishing, position_of, streaming
from tests.faults.pair import Node, Pair
from tests.integration.logs import connected
from tests.support.builders import new_fact, new_facts, publication
from tests.support.service import ServiceProcess, settings_of
from tests.support.waiting import until

KINDS = {"unavailable", "standby-behind"}

# A lock of the primary is logged, and replayed at the standby when something is committed.
LOCK_OUT = "lock table factwire.{} in access exclusive mode"
FLUSH = "select pg_logical_emit_message(true, '', '')"
HELD = "select exists (select from pg_locks where relation = $1::text::regclass and mode = 'AccessExclusiveLock')"
BLOCKED = "select count(*) from pg_stat_activity where application_name = 'factwire read' and wait_event_type = 'Lock'"
CONFLICT = "conflict with recovery"


@dataclass
class Site:
    """A primary and its standby, each with a service."""

    pair: Pair
    primary: ServiceProcess
    standby: ServiceProcess

    @property
    def errors(self) -> list[str]:
        """What the standby's PostgreSQL complains of."""
        lines = (self.pair.standby.directory / "server.log").read_text(errors="replace").splitlines()
        return [line for line in lines if "ERROR:" in line]

    @property
    def conflicts(self) -> list[str]:
        """That of which the reads are no cause."""
        return [line for line in self.errors if CONFLICT in line]


@asynccontextmanager
async def standing() -> AsyncIterator[Site]:
    directory = Path(mkdtemp(prefix="factwire-pair-"))
    await asyncio.to_thread(directory.chmod, 0o777)  # the servers run as a user of their own
    pair = await asyncio.to_thread(Pair, directory, synchronous=False)
    try:
        await asyncio.to_thread(migrate, pair.primary.url)
        async with service_on(pair.primary) as primary:
            await publish(primary)  # so that the service on the standby begins with something that is history
            async with connected(pair.primary.url) as [there], connected(pair.standby.url) as [here]:
                written = await there.fetchval("select pg_current_wal_lsn()::text")
                await until(lambda: here.fetchval("select pg_last_wal_replay_lsn() >= $1::text::pg_lsn", written))
            async with service_on(pair.standby) as standby:
                yield Site(pair, primary, standby)
    finally:
        pair.remove()
        shutil.rmtree(directory)


def service_on(node: Node, **settings: object) -> ServiceProcess:
    log_path = node.directory.with_suffix(".service.log")
    environment = settings_of(database_url=node.url, drain_seconds=0, retry_seconds=0.1, **settings)
    return ServiceProcess(environment, log_path=log_path)


@pytest.fixture(scope="module")
def shared_site() -> Iterator[Site]:
    with asyncio.Runner() as runner:
        site = standing()
        yield runner.run(site.__aenter__())
        runner.run(site.__aexit__(None, None, None))


@pytest.fixture
async def site(shared_site: Site) -> AsyncIterator[Site]:
    """The site of all tests of this worker; the last one ends it."""
    yield shared_site
    assert shared_site.errors == shared_site.conflicts
    assert await metric(shared_site.standby, "factwire_forks") == 0


@asynccontextmanager
async def client_of(service: ServiceProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        yield client


async def metric(service: ServiceProcess, name: str) -> float:
    async with client_of(service) as client:
        lines = (await client.get("/metrics")).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


async def publish(service: ServiceProcess, count: int = 1, **changes: object) -> dict[str, Any]:
    async with client_of(service) as client:
        response = await client.post("/v1/facts", json=publication(*new_facts(count, **changes)))
    assert response.status_code == 201, response.text
    published: dict[str, Any] = response.json()
    return published


async def execute(url: str, *statements: str) -> None:
    async with connected(url) as [connection]:
        for statement in statements:
            await connection.execute(statement)


def kind_of(response: httpx.Response) -> str:
    kind: str = response.json()["type"].rpartition(":")[2]
    return kind


async def ends_kindly(url: str, parameters: str) -> bool:
    """Whether a stream is one that EventSource opens again."""
    async with streaming(url, parameters) as stream:
        body = await stream.read_to_the_end()
        return body.startswith(b"retry: ") and body.count(b"\n") == 1 and stream.ended_cleanly


async def test_history_streams_and_long_polls_are_served(site: Site) -> None:
    after = (await publish(site.primary))["cursor"]
    async with client_of(site.standby) as client, streaming(site.standby.url, f"?after={after}") as stream:
        poll = client.get("/v1/facts", params={"after": after, "wait_seconds": 20})
        waiting = asyncio.create_task(poll)
        published = await publish(site.primary, 3)
        positions = [fact["position"] for fact in published["facts"]]
        await stream.read_until(lambda _: stream.positions() == positions)
        assert [fact["position"] for fact in (await waiting).json()["facts"]] == positions
        # Whoever has just published reads on at the standby, which may be a moment behind.
        for _ in range(20):
            cursor = (await publish(site.primary))["cursor"]
            page = await client.get("/v1/facts", params={"after": cursor})
            assert (page.status_code, page.json()["facts"]) == (200, [])
        lines = (await client.get("/v1/facts/export")).text.splitlines()
        assert len(lines) == await position_of(client)


async def test_the_standby_is_told_and_counts_as_reachable(site: Site) -> None:
    async with client_of(site.standby) as client:
        readiness = (await client.get("/readyz")).json()
        assert readiness == {"ready": True, "draining": False, "schema": "current", "database": "standby"}
        [found] = [finding async for finding in look_at_service(client)]
        assert (found.verdict, "nothing is published" in found.detail) == ("note", True)
    assert await metric(site.standby, "factwire_database_reachable") == 1
    assert await metric(site.standby, "factwire_database_standby") == 1
    assert await metric(site.primary, "factwire_database_standby") == 0
    assert await metric(site.standby, "factwire_listener_connected") == 0


async def test_hints_of_the_primary_are_heard_at_a_service_on_the_standby(site: Site) -> None:
    async with service_on(site.pair.standby, listen_url=site.pair.primary.url) as service:
        await until(lambda: is_value(service, "factwire_listener_connected", 1))


async def is_value(service: ServiceProcess, name: str, value: float) -> bool:
    return await metric(service, name) == value


async def test_whatever_writes_is_refused_with_the_reason_and_leaves_the_database_reachable(site: Site) -> None:
    async with client_of(site.standby) as client:
        for response in (
            await client.post("/v1/facts", json=publication()),
            await client.post("/v1/tickets"),
            await client.post("/v1/session"),
            await client.delete(f"/v1/data-subjects/{uuid4()}"),
        ):
            assert (response.status_code, kind_of(response)) == (503, "unavailable"), response.text
            assert "standby" in response.json()["detail"]
            assert response.headers["retry-after"]
        headers = {"content-type": "application/x-ndjson"}
        lines = (await client.post("/v1/facts/import", content=json.dumps(new_fact()), headers=headers)).text
        assert "standby" in json.loads(lines.splitlines()[-1])["problem"]["detail"]
        assert (await client.get("/readyz")).json()["database"] == "standby"
    assert await metric(site.standby, "factwire_database_reachable") == 1


async def test_a_standby_without_a_log_waits_for_that_of_its_primary(site: Site) -> None:
    urls = [f"{node.url.removesuffix('/postgres')}/template1" for node in (site.pair.primary, site.pair.standby)]
    assert [await asyncio.to_thread(is_empty, url) for url in urls] == [True, False]


async def test_a_cursor_that_the_standby_has_yet_to_receive_is_asked_to_come_back(site: Site) -> None:
    async with client_of(site.standby) as client:
        await execute(site.pair.standby.url, "select pg_wal_replay_pause()")
        try:
            cursor = (await publish(site.primary))["cursor"]
            position = cursor.partition(":")[2]
            responses = await asyncio.gather(
                client.get("/v1/facts", params={"after": cursor}),
                client.get("/v1/facts", params={"until": position}),
                client.get("/v1/facts", params={"after": cursor, "wait_seconds": 20}),
                client.get("/v1/facts/export", params={"after": cursor}),
                client.post("/v1/facts/search", params={"after": cursor}, json={"items": []}),
                client.get("/v1/facts", params={"after": "2:1"}),  # of an epoch that may have begun on the primary
            )
            for response in responses:
                assert (response.status_code, kind_of(response)) == (503, "standby-behind")
                assert response.headers["retry-after"]
            assert await ends_kindly(site.standby.url, f"?after={cursor}")
            early = asyncio.create_task(client.get("/v1/facts", params={"after": cursor}))
        finally:
            await execute(site.pair.standby.url, "select pg_wal_replay_resume()")
        assert (await early).status_code == 200
        async with streaming(site.standby.url, f"?after={cursor}") as stream:
            published = await publish(site.primary)
            await stream.read_until(lambda _: stream.positions() == [published["position"]])


async def test_a_standby_that_comes_back_with_less_than_it_had_shown_is_no_lost_history(site: Site) -> None:
    """After a crash a standby opens where it is consistent, which is before what it had shown; here for longer."""
    node, done = site.pair.standby, asyncio.Event()
    async with (
        client_of(site.standby) as client,
        streaming(site.standby.url, "?after=start") as stream,
        asyncio.TaskGroup() as group,
    ):
        publishing = [group.create_task(keep_publishing(site.primary.url, Acknowledged(), done)) for _ in range(4)]
        paging = group.create_task(read_everything(client, done))
        resuming = group.create_task(follow_in_parts(site.standby.url, done))
        for stop in (node.stop, node.kill):
            await read_on(stream, 50)
            await asyncio.to_thread(stop)
            await asyncio.to_thread(node.start)

        await read_on(stream, 50)
        await execute(node.url, "alter system set recovery_min_apply_delay = '1min'")
        await asyncio.to_thread(node.kill)
        await asyncio.to_thread(node.start)
        shown = stream.positions()[-1]
        await until(lambda: reads(client, shown))
        assert await ends_kindly(site.standby.url, f"?after={shown}")
        await execute(node.url, "alter system reset recovery_min_apply_delay", "select pg_reload_conf()")
        await read_on(stream, 50)

        done.set()
        await asyncio.gather(*publishing)
        head = await head_of(site.primary)
        await stream.read_until(lambda _: stream.positions()[-1] == head)
        for positions in (stream.positions(), await paging, await resuming):
            assert positions == list(range(1, len(positions) + 1))


async def reads(client: httpx.AsyncClient, shown: int) -> bool:
    """Whether the service reads again, from a standby that has not got what it had shown."""
    response = await client.get("/v1/facts", params={"after": "start", "limit": 1})
    assert response.status_code == 200 or kind_of(response) in KINDS
    return response.is_success and response.json()["head"] < shown


async def read_on(stream: RawStream, count: int) -> None:
    wanted = max(stream.positions(), default=0) + count
    await stream.read_until(lambda _: max(stream.positions(), default=0) >= wanted)


async def head_of(service: ServiceProcess) -> int:
    async with client_of(service) as client:
        return await position_of(client)


async def read_everything(client: httpx.AsyncClient, done: asyncio.Event) -> list[int]:
    """The positions of pages, each from the cursor of the one before."""
    cursor, positions = "start", list[int]()
    while not done.is_set():
        response = await client.get("/v1/facts", params={"after": cursor})
        if response.status_code != 200:
            assert (response.status_code, kind_of(response) in KINDS) == (503, True), response.text
            assert response.headers["retry-after"]
            continue
        page = response.json()
        positions += [fact["position"] for fact in page["facts"]]
        cursor = page["cursor"]
    return positions


async def follow_in_parts(url: str, done: asyncio.Event) -> list[int]:
    """The positions of streams, each from the last id of the one before."""
    cursor, positions = "", list[int]()
    while not done.is_set():
        async with streaming(url, cursor=cursor) as stream:
            while await stream.read_chunk() and not stream.positions():
                pass
            positions += stream.positions()
            cursor = stream.cursor() or cursor
    return positions


async def test_reads_in_the_way_of_recovery_are_asked_to_come_back(site: Site) -> None:
    await publish(site.primary)
    url = site.pair.standby.url
    await execute(url, "alter system set max_standby_streaming_delay = 0", "select pg_reload_conf()")
    async with client_of(site.standby) as client:
        async with in_the_way(site, "log", blocked_on="epochs", readers=2):
            page = asyncio.create_task(client.get("/v1/facts?after=head"))
            stream = asyncio.create_task(ends_kindly(site.standby.url, "?after=start"))
        assert ((await page).status_code, kind_of(await page)) == (503, "unavailable")
        assert (await page).headers["retry-after"]
        assert await stream

    async with AsyncExitStack() as opened:
        async with in_the_way(site, "facts", blocked_on="fact_tags", readers=1):
            history = await opened.enter_async_context(streaming(site.standby.url, "?after=start&meta=tenant:a"))
        await history.read_to_the_end()
        assert b"event: problem\n" in history.body
        assert history.ended_cleanly
    await execute(url, "alter system reset max_standby_streaming_delay", "select pg_reload_conf()")
    await until(lambda: is_value(site.standby, "factwire_database_reachable", 1))


@asynccontextmanager
async def in_the_way(site: Site, table: str, *, blocked_on: str, readers: int) -> AsyncIterator[None]:
    """Let readers that begin within wait on the standby for one table, until it ends them because of another one."""
    async with connected(site.pair.primary.url, 2) as [holder, other], connected(site.pair.standby.url) as [standby]:

        async def are_blocked(count: int) -> bool:
            return int(await standby.fetchval(BLOCKED)) == count

        before = len(site.conflicts)
        async with holder.transaction():
            await holder.execute(LOCK_OUT.format(blocked_on))
            await other.execute(FLUSH)
            await until(lambda: standby.fetchval(HELD, f"factwire.{blocked_on}"))
            yield
            await until(lambda: are_blocked(readers))
            async with other.transaction():
                await other.execute(LOCK_OUT.format(table))
            await until(lambda: are_blocked(0))
        assert len(site.conflicts) >= before + readers


async def test_a_promoted_standby_publishes_and_its_streams_go_on(site: Site) -> None:
    head = (await publish(site.primary, 10))["position"]
    async with client_of(site.standby) as client, streaming(site.standby.url, f"?after={head - 10}") as stream:
        await stream.read_until(lambda _: stream.positions()[-1:] == [head])
        await asyncio.to_thread(site.pair.primary.kill)
        await asyncio.to_thread(site.pair.standby.promote)

        async def is_primary() -> bool:
            return bool((await client.get("/readyz")).json()["database"] == "reachable")

        await until(is_primary)
        assert (await publish(site.standby, 10))["position"] == head + 10
        await stream.read_until(lambda _: stream.positions()[-1:] == [head + 10])
        assert stream.positions() == list(range(head - 9, head + 11))
    await until(lambda: is_value(site.standby, "factwire_listener_connected", 1))
    assert await metric(site.standby, "factwire_database_standby") == 0
