"""docs/followers: whatever happens on the way, the view holds every fact once, and what is wrong is told."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.access.keys import known, make_key, new_grants
from tests.conftest import RUN_DIRECTORY, StartService
from tests.recipes.cutting import relaying
from tests.recipes.programs import import_facts, node, publish, python, refused, revoke, running
from tests.support.builders import new_fact, new_facts
from tests.support.postgres import Databases
from tests.support.waiting import until

FACTS = 20_000
KILLS = 6
ROOM = 500_000  # bytes, of some 330 a fact
READER = new_grants(read=(["shop"], []))
PUBLISHER = new_grants(publish=(["shop"], []))

Totals = dict[str, int]


@dataclass(frozen=True)
class Follower:
    """How one of them is started, and what is in its view: the cursor and the totals."""

    path: Path
    start: Callable[[str, Path], list[str]]
    look: Callable[[Path], tuple[str, Totals]]

    def command(self, url: str, query: str = "?namespace=shop") -> list[str]:
        return self.start(f"{url}/v1/stream{query}", self.path)

    @property
    def totals(self) -> Totals:
        return self.look(self.path)[1]

    @property
    def cursor(self) -> str:
        return self.look(self.path)[0]

    @property
    def facts(self) -> int:
        return sum(self.totals.values())

    @property
    def log_path(self) -> Path:
        return self.path.with_suffix(".log")


def look_into_sqlite(path: Path) -> tuple[str, Totals]:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as view:
            view.execute("begin")  # both as they were at one moment
            progress = view.execute("select cursor from progress").fetchone()
            return progress[0] if progress else "start", dict(view.execute("select * from totals"))
    except sqlite3.OperationalError:
        return "start", {}  # not there yet


def look_into_a_file(path: Path) -> tuple[str, Totals]:
    if not path.exists():
        return "start", {}
    view = json.loads(path.read_text())
    return view["cursor"], view["totals"]


@pytest.fixture(params=["python", pytest.param("node", marks=pytest.mark.clients)])
def follower(request: pytest.FixtureRequest, tmp_path: Path) -> Follower:
    if request.param == "python":
        return Follower(
            tmp_path / "view.db", lambda url, path: python("followers/follow.py", url, path), look_into_sqlite
        )
    compiled = request.config.stash[RUN_DIRECTORY]  # of all workers
    return Follower(
        tmp_path / "view.json",
        lambda url, path: node("followers/follow.mts", url, path, directory=compiled),
        look_into_a_file,
    )


async def test_history_and_live_facts_are_in_the_view(start_service: StartService, follower: Follower) -> None:
    service = await start_service()
    await publish(service.url, *new_facts(3), *new_facts(2, namespace="elsewhere"))
    async with running(follower.command(service.url), log_path=follower.log_path):
        await until(lambda: follower.cursor == "1:5")
        await publish(service.url, *new_facts(2, type="OrderPaid"))
        await until(lambda: follower.cursor == "1:7")
    assert follower.totals == {"OrderPlaced": 3, "OrderPaid": 2}


async def test_killed_in_the_middle_it_goes_on_without_loss_or_double(
    start_service: StartService, follower: Follower
) -> None:
    service = await start_service()
    await import_facts(service.url, new_facts(FACTS))
    async with relaying(service.port) as (relay, url):
        relay.room, relay.stalls = ROOM, True
        for _ in range(KILLS):
            before = follower.facts
            async with running(follower.command(url), log_path=follower.log_path) as program:
                await until(lambda before=before: follower.facts > before)
                await program.kill()
            assert follower.cursor == f"1:{follower.facts}"
    assert follower.facts < FACTS
    async with running(follower.command(service.url), log_path=follower.log_path):
        await until(lambda: follower.cursor == f"1:{FACTS}")
    assert follower.totals == {"OrderPlaced": FACTS}


async def test_it_comes_back_over_connections_that_drop_in_the_middle_of_an_event(
    start_service: StartService, follower: Follower
) -> None:
    service = await start_service(retry_seconds=0.1)
    await publish(service.url, *new_facts(100))
    async with relaying(service.port) as (relay, url):
        relay.room = 12_345
        async with running(follower.command(url), log_path=follower.log_path):
            await until(lambda: follower.cursor == "1:100")
            relay.cut_off()
            await publish(service.url, *new_facts(10))
            await until(lambda: follower.cursor == "1:110")
        assert relay.cut > 2
    assert follower.totals == {"OrderPlaced": 110}


async def test_it_outlives_the_service(start_service: StartService, follower: Follower) -> None:
    service = await start_service(retry_seconds=0.1)
    await publish(service.url, *new_facts(3))
    async with running(follower.command(service.url), log_path=follower.log_path):
        await until(lambda: follower.facts == 3)
        for total in (4, 5):
            await service.kill()
            service = await start_service(port=service.port, retry_seconds=0.1)
            await publish(service.url, new_fact())
            await until(lambda total=total: follower.facts == total)


async def test_a_busy_service_is_asked_again(start_service: StartService, follower: Follower) -> None:
    """All that it answers is when to come back."""
    service = await start_service(streams_max=1, retry_seconds=0.1)
    await publish(service.url, *new_facts(3))
    async with (
        relaying(service.port) as (relay, url),
        httpx.AsyncClient(verify=False) as client,
        client.stream("GET", f"{service.url}/v1/stream") as taken,
        running(follower.command(url), log_path=follower.log_path),
    ):
        await until(lambda: relay.requests > 2)
        assert follower.facts == 0
        await taken.aclose()
        await until(lambda: follower.facts == 3)


async def test_separators_of_lines_in_a_payload_end_no_event(start_service: StartService, follower: Follower) -> None:
    service = await start_service()
    await publish(service.url, new_fact(payload="a\u2028b\u2029c\u0085d\u000be\u000cf\u001cg", type="Odd"), new_fact())
    async with running(follower.command(service.url), log_path=follower.log_path):
        await until(lambda: follower.cursor == "1:2")
    assert follower.totals == {"Odd": 1, "OrderPlaced": 1}


async def test_a_problem_ends_the_stream_and_an_answer_with_one_the_program(
    start_service: StartService, follower: Follower
) -> None:
    service = await start_service(auth="keys", retry_seconds=0.1)
    revoked, fresh = [await make_key(service.database_url, READER) for _ in range(2)]
    publisher = (await make_key(service.database_url, PUBLISHER)).secret
    await known(service.url, revoked.secret, fresh.secret, publisher)
    await publish(service.url, *new_facts(3), key=publisher)
    command = follower.command(service.url)
    async with running(command, log_path=follower.log_path, key=revoked.secret) as program:
        await until(lambda: follower.facts == 3)
        await revoke(service.database_url, revoked.key.id)
        assert await program.ended() == 1
        assert program.said.count("urn:factwire:problem:unauthenticated") == 2
    await publish(service.url, *new_facts(2), key=publisher)
    async with running(command, log_path=follower.log_path, key=fresh.secret):
        await until(lambda: follower.facts == 5)


async def test_what_is_refused_ends_the_program_and_leaves_the_view(
    start_service: StartService, databases: Databases, follower: Follower
) -> None:
    service = await start_service()
    assert await refused(follower.command(service.url, "?namspace=shop")) == "unknown-parameter"
    await publish(service.url, *new_facts(3))
    async with running(follower.command(service.url), log_path=follower.log_path):
        await until(lambda: follower.facts == 3)
    other = await start_service(database_url=await asyncio.to_thread(databases.create))
    assert await refused(follower.command(other.url)) == "cursor-ahead"
    assert (follower.cursor, follower.facts) == ("1:3", 3)
