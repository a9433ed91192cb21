"""Whatever ends an import, nothing that stands after the line that it names is stored; repeated, it keeps its order."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from factwire.store.connection import Connection
from tests.conftest import StartService
from tests.integration.logs import connected, fact, store, waiting_for_a_lock
from tests.support.builders import publication
from tests.support.waiting import until

LINES = 500
OTHERS = 300
ANSWER_SECONDS = 40.0
NDJSON = {"content-type": "application/x-ndjson"}
LOCK_LOG = "select factwire.lock_log()"
APPENDING = """
select pid from pg_stat_activity where datname = current_database() and application_name = 'factwire append'
"""
STORED_LINES = "select document from factwire.facts where type = 'Line' order by position"


def new_lines(count: int = LINES) -> list[dict[str, Any]]:
    return [
        {"id": str(uuid4()), "namespace": "shop", "type": "Line", "payload": number} for number in range(1, count + 1)
    ]


@dataclass
class Log:
    """A service and its log, whose lock the test may hold."""

    client: httpx.AsyncClient
    locking: Connection
    watching: Connection
    others: list["asyncio.Task[int]"] = field(default_factory=list)

    def publish_others(self, count: int) -> None:
        for _ in range(count):
            body = publication({"namespace": "shop", "type": "Other", "payload": 1})
            self.others.append(asyncio.create_task(post(str(self.client.base_url), json.dumps(body))))

    async def waiting(self) -> int:
        """How many publishes are under way."""
        text = (await self.client.get("/metrics")).text
        return next(int(float(line.split()[1])) for line in text.splitlines() if line.startswith(WAITING))

    async def crowd(self) -> None:
        """Let many publishers wait: one call is under way, and no further one can take them all and a file."""
        self.publish_others(1)
        await until(lambda: waiting_for_a_lock(self.watching))
        self.publish_others(OTHERS)
        await until(lambda: self.waits_at_least(OTHERS + 1))

    async def rests(self) -> bool:
        return await self.waiting() == 0

    async def waits_at_least(self, count: int) -> bool:
        return await self.waiting() >= count

    async def stored(self) -> list[int]:
        """The numbers of the lines in the log, in its order, once no publish is under way."""
        await until(self.rests)
        rows = await self.watching.fetch(STORED_LINES)
        return [int(bytes(row["document"]).rpartition(b'"payload":')[2][:-1]) for row in rows]

    async def imported(self, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What the last line of the answer says."""
        answer = await self.client.post("/v1/facts/import", content=ndjson(lines), headers=NDJSON)
        assert answer.status_code == 200, answer.text
        last: dict[str, Any] = json.loads(answer.text.splitlines()[-1])
        return last

    async def end_the_call(self) -> None:
        """End the session that appends, as a fail-over does, while it waits for the lock."""
        await until(lambda: waiting_for_a_lock(self.watching))
        pid = await self.watching.fetchval(APPENDING)
        await self.watching.execute("select pg_terminate_backend($1)", pid)
        await until(lambda: self.is_gone(pid))

    async def is_gone(self, pid: int) -> bool:
        return pid not in [row["pid"] for row in await self.watching.fetch(APPENDING)]


WAITING = "factwire_publishes_waiting "


async def post(base_url: str, body: str) -> int:
    """The status of a publish by a plain connection: what clients do with hundreds of theirs takes them seconds."""
    url = urlsplit(base_url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    head = f"POST /v1/facts HTTP/1.1\r\nhost: {url.netloc}\r\ncontent-type: application/json\r\nconnection: close\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return int((await reader.readline()).split()[1])
    finally:
        writer.close()


def ndjson(lines: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)


@pytest.fixture
async def log(start_service: StartService) -> AsyncIterator[Log]:
    service = await start_service()
    async with (
        httpx.AsyncClient(base_url=service.url, timeout=ANSWER_SECONDS) as client,
        connected(service.database_url, 2) as [locking, watching],
    ):
        yield Log(client, locking, watching)


@asynccontextmanager
async def locked(log: Log) -> AsyncIterator[None]:
    """While it runs, nobody can append."""
    async with log.locking.transaction(isolation="read_committed"):
        await log.locking.execute(LOCK_LOG)
        yield


async def check(log: Log, outcome: dict[str, Any], lines: Sequence[dict[str, Any]]) -> None:
    """The log holds what stands before the line that failed, and nothing else; and, after a repetition, the file."""
    failed_at = outcome["problem"]["line"] if "problem" in outcome else len(lines) + 1
    assert await log.stored() == list(range(1, failed_at))
    again = await log.imported(lines)
    assert again["result"]["lines"] == len(lines)
    assert again["result"]["published"] == len(lines) + 1 - failed_at
    assert await log.stored() == list(range(1, len(lines) + 1))


async def test_nothing_after_a_line_is_stored_where_calls_wait_too_long_for_the_lock(log: Log) -> None:
    lines = new_lines()
    async with locked(log):
        await log.crowd()
        importing = asyncio.create_task(log.imported(lines))
        await until(lambda: log.waits_at_least(OTHERS + 2))
        # The first call gives up, and then the one after it: it has the others, and as much of the file as fits.
        await log.others[-1]
    outcome = await importing
    assert set(await asyncio.gather(*log.others)) == {503}
    await check(log, outcome, lines)


async def test_nothing_after_a_line_is_stored_where_the_session_is_ended_in_the_middle(log: Log) -> None:
    lines = new_lines()
    async with locked(log):
        await log.crowd()
        importing = asyncio.create_task(log.imported(lines))
        await until(lambda: log.waits_at_least(OTHERS + 2))
        for _ in range(2):
            await log.end_the_call()
        await log.others[-1]
    outcome = await importing
    assert set(await asyncio.gather(*log.others)) == {503}
    await check(log, outcome, lines)


async def test_nothing_after_a_line_is_stored_where_the_session_is_ended_again_and_again(log: Log) -> None:
    lines = new_lines()
    stored: list[int] = []
    for _ in range(6):
        async with locked(log):
            log.publish_others(OTHERS)
            importing = asyncio.create_task(log.imported(lines))
            await log.end_the_call()
        outcome = await importing
        await asyncio.gather(*log.others)
        failed_at = outcome["problem"]["line"] if "problem" in outcome else len(lines) + 1
        now = await log.stored()
        assert now == list(range(1, failed_at))
        assert now[: len(stored)] == stored
        stored = now
    await check(log, {"problem": {"line": len(stored) + 1}}, lines)


@pytest.mark.parametrize("at", [1, 100, LINES])
async def test_nothing_after_a_line_is_stored_whose_id_another_publisher_takes_at_this_moment(
    log: Log, at: int
) -> None:
    lines = new_lines()
    async with locked(log):
        importing = asyncio.create_task(log.imported(lines))
        await until(lambda: waiting_for_a_lock(log.watching))  # what is stored was looked at
        await store(log.locking, [fact(id=lines[at - 1]["id"], type="Other")])
    outcome = await importing
    assert (outcome["problem"]["type"], outcome["problem"]["line"]) == ("urn:factwire:problem:fact-id-conflict", at)
    assert outcome["problem"]["progress"]["lines"] == at - 1
    assert await log.stored() == list(range(1, at))
    # Corrected and repeated, the rest comes in the order of the file.
    lines[at - 1]["id"] = str(uuid4())
    await check(log, outcome, lines)


async def test_lines_keep_their_order_where_another_publisher_stores_one_of_them_at_this_moment(log: Log) -> None:
    lines = new_lines()
    async with locked(log):
        importing = asyncio.create_task(log.imported(lines))
        await until(lambda: waiting_for_a_lock(log.watching))
        same = fact(id=lines[99]["id"], type="Line", payload=b"100")
        await store(log.locking, [same])
    outcome = await importing
    assert outcome["result"]["lines"] == LINES
    assert (outcome["result"]["published"], outcome["result"]["replayed"]) == (LINES - 1, 1)
    assert await log.stored() == [100, *(number for number in range(1, LINES + 1) if number != 100)]


async def test_a_file_with_a_conflict_is_stored_up_to_it_beside_many_other_publishers(log: Log) -> None:
    lines = new_lines(1200)
    await store(log.watching, [fact(id=lines[799]["id"], type="Other")])
    log.publish_others(OTHERS)
    outcome = await log.imported(lines)
    await asyncio.gather(*log.others)
    assert outcome["problem"]["line"] == 800
    assert await log.stored() == list(range(1, 800))
