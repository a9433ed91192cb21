"""@factwire/client in Node and in a real browser: each of its verbs, also through a network that cuts and repeats."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.access.keys import known, make_key, new_grants
from tests.clients.typescript_client import HERE, ScriptFailed, in_node, in_page, page_origin
from tests.conftest import StartService
from tests.python_client.test_outcomes import gateway
from tests.recipes.programs import raise_epoch
from tests.support.bad_network import Fault, bad_network
from tests.support.postgres import Databases
from tests.support.service import ROOT, ServiceProcess, clean_environment, free_port, settings_of

pytestmark = pytest.mark.clients

CUT = Fault("cut", 0)
PATIENT = 60.0
# The oldest and the newest Node that can be installed here, beside the one of this machine.
NODES = {"node": "node", "oldest": "node_modules/node-oldest/bin/node", "newest": "node_modules/node-newest/bin/node"}
faults = st.builds(
    Fault,
    st.sampled_from(["cut", "end", "lose", "delay", "repeat"]),
    st.one_of(st.integers(0, 1200), st.integers(0, 20_000)),
)
tried = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="session")
def origin_url() -> Iterator[str]:
    with page_origin() as url:
        yield url


@pytest.fixture(scope="module")
def quick_service(
    databases: Databases, origin_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """A service with a short `retry:`, which pages may use."""
    environment = settings_of(database_url=databases.create(), auth="none", retry_seconds=0.1, cors_origins=origin_url)
    process = ServiceProcess(environment, log_path=tmp_path_factory.mktemp("service") / "service.log")
    asyncio.run(process.__aenter__())
    yield process
    asyncio.run(process.close())


@pytest.fixture
def namespace() -> str:
    return f"typescript-{uuid4()}"


@asynccontextmanager
async def engine(kind: str, origin_url: str) -> AsyncIterator[Any]:
    if kind == "page":
        async with in_page(origin_url) as page:
            yield page
        return
    if kind != "node" and not (HERE / NODES[kind]).exists():
        pytest.skip("this Node is for Linux on x64")
    async with in_node(str(HERE / NODES[kind]) if kind != "node" else "node") as node:
        yield node


everywhere = pytest.mark.parametrize("kind", [*NODES, "page"])


@everywhere
@pytest.mark.parametrize(
    "script", [[], [CUT, Fault("end", 900), Fault("lose", 200), Fault("repeat", 50), Fault("cut", 700)]]
)
async def test_each_verb(
    quick_service: ServiceProcess, origin_url: str, namespace: str, kind: str, script: list[Fault]
) -> None:
    direct = quick_service.url
    async with engine(kind, origin_url) as client, bad_network(quick_service.port, script) as (_, url):
        told = await client.run("publish", url=url, namespace=namespace)
        assert await client.run("read", url=direct, namespace=namespace) == [[at, n] for n, at in enumerate(told)]
        decided = f"{namespace}-decided"
        await client.run("decide", url=url, namespace=decided)
        assert [n for _, n in await client.run("read", url=direct, namespace=decided)] == list(range(6))
        followed = await client.run("follow", url=url, direct=direct, namespace=f"{namespace}-followed")
        assert followed == list(range(30))


@everywhere
async def test_pages_and_large_queries(
    quick_service: ServiceProcess, origin_url: str, namespace: str, kind: str
) -> None:
    async with engine(kind, origin_url) as client:
        read, newest, followed, same, data, moved = await client.run(
            "pages", url=quick_service.url, namespace=namespace
        )
    assert read == followed == list(range(90))
    assert newest == list(reversed(range(600)))
    assert same
    assert moved
    assert '"payload":{ "total": 1.50 }' in data


@pytest.mark.timeout(240)  # each example waits as a client has to wait
@given(script=st.lists(faults, max_size=6))
@tried
def test_through_any_faults_what_is_published_is_there_once_and_followed_once(
    quick_service: ServiceProcess, script: list[Fault]
) -> None:
    async def scenario() -> None:
        namespace = f"bad-{uuid4()}"
        async with in_node() as client:
            async with bad_network(quick_service.port, script) as (_, url):
                told = await client.run("publish", url=url, namespace=namespace)
            found = await client.run("read", url=quick_service.url, namespace=namespace)
            assert found == [[at, n] for n, at in enumerate(told)]
            async with bad_network(quick_service.port, script) as (_, url):
                followed = f"{namespace}-followed"
                seen = await client.run("follow", url=url, direct=quick_service.url, namespace=followed)
            assert seen == list(range(30))

    asyncio.run(asyncio.wait_for(scenario(), PATIENT))


async def error_of(client: Any, script: str, **given: Any) -> ScriptFailed:
    with pytest.raises(ScriptFailed) as caught:
        await client.run(script, **given)
    return caught.value


QUICK = {"giveUpAfterMs": 300}


@everywhere
async def test_a_lost_publish_is_resumed(
    quick_service: ServiceProcess, origin_url: str, namespace: str, kind: str
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    async with engine(kind, origin_url) as client:
        unreachable = await error_of(client, "publishOne", url=nowhere, options=QUICK, namespace=namespace)
        assert unreachable.name == ("NoOutcome" if kind == "page" else "Unreachable")  # a page is not told why
        async with bad_network(quick_service.port, [CUT] * 1000) as (_, url):
            lost = await error_of(client, "publishOne", url=url, options=QUICK, namespace=namespace)
        assert lost.name == "NoOutcome"
        unknown = {name: lost.error[name] for name in ("facts", "body")}
        still = await error_of(client, "resume", url=nowhere, unknown=unknown, options=QUICK)
        assert still.name == "NoOutcome"
        replayed = await client.run("resume", url=quick_service.url, unknown=unknown)
        assert replayed or kind == "page"  # of a page, the question that comes before its request was cut
        async with bad_network(quick_service.port, [CUT]) as (_, url):
            other = f"{namespace}-other"  # its own first attempt does not fail the condition
            condition = {"fail_if_match": {"namespaces": [other]}}
            published = await client.run("publishOne", url=url, namespace=other, rest=condition)
            assert published["replayed"] or kind == "page"


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("publishOne", {"rest": {"fail_if_match": {"types": ["Counted"]}}}, "ConditionFailed"),
    ("missing", {"id": "0193595a-7c5f-7e1a-8f31-2f6a3c7d9b10"}, "FactNotFound"),
    ("misspelt", {}, "InvalidRequest"),
    ("followFrom", {"after": "1:99999999"}, "CursorAhead"),
    ("decideOfMany", {}, "TooManyFacts"),
    ("noList", {}, "TypeError"),
    ("noQuery", {}, "TypeError"),
    ("splice", {}, "SyntaxError"),
    ("construct", {"url": "http://user:pa55word@127.0.0.1"}, "TypeError"),
]


@everywhere
async def test_errors_say_what_is_wrong(
    quick_service: ServiceProcess, origin_url: str, namespace: str, kind: str
) -> None:
    async with engine(kind, origin_url) as client:
        await client.run("publish", url=quick_service.url, namespace=namespace)
        for script, given, expected in WRONG:
            error = await error_of(client, script, **{"url": quick_service.url, "namespace": namespace} | given)
            assert error.name == expected
            assert "pa55word" not in str(error)


@pytest.mark.parametrize(
    ("script", "status", "body", "expected"),
    [
        ("publishOne", 504, '{"type": "unavailable"}', "NoOutcome"),
        ("publishOne", 200, '{"facts": [{"id": "of-another", "position": 1}]}', "NoOutcome"),
        ("publishOne", 302, "", "UnexpectedAnswer"),
        ("anonymous", 200, "null", "Unreachable"),
        ("followFrom", 200, "<html>", "UnexpectedAnswer"),
    ],
)
async def test_an_answer_of_a_gateway_is_none_of_the_service(
    script: str, status: int, body: str, expected: str
) -> None:
    with gateway(status, body) as (url, _):
        async with in_node() as client:
            error = await error_of(client, script, url=url, namespace="shop", options=QUICK)
    assert error.name == expected


@everywhere
async def test_a_silent_stream_is_opened_again_and_one_can_be_left(
    quick_service: ServiceProcess, origin_url: str, namespace: str, kind: str
) -> None:
    async with engine(kind, origin_url) as client:
        async with bad_network(quick_service.port, [Fault("stall", 500)]) as (network, url):
            given = {"url": url, "direct": quick_service.url, "namespace": namespace, "options": {"silenceMs": 800}}
            assert await client.run("follow", **given) == list(range(30))
        assert network.happened == ["stall"]
        assert await client.run("leave", url=quick_service.url)


@everywhere
async def test_tickets_and_keys(start_service: StartService, origin_url: str, kind: str) -> None:
    service = await start_service(auth="keys", cors_origins=origin_url, stream_age_seconds_max=1, retry_seconds=0.1)
    key = (await make_key(service.database_url, new_grants(publish=(["shop"], []), read=(["shop"], [])))).secret
    await known(service.url, key)
    async with engine(kind, origin_url) as client:
        assert await client.run("withTickets", url=service.url, key=key) == [[0, 1, 2, 3], True]
        assert (await error_of(client, "anonymous", url=service.url)).name == "Unauthenticated"
        type, states = await client.run("withTicketsOfAServer", url=service.url, key=key)
        assert (type, states) == ("OrderPlaced", [["retrying", 503], ["retrying", 401], ["open", 0]])
        assert (await error_of(client, "withRefusedTickets", url=service.url, answers=[503, 403])).error[
            "status"
        ] == 403
        assert (await error_of(client, "withTicketThatIsText", url=service.url)).name == "TypeError"


async def test_apply_that_commits_is_told(quick_service: ServiceProcess, namespace: str) -> None:
    async with engine("newest", "") as client:
        await client.run("publish", url=quick_service.url, namespace=namespace)
        with pytest.raises(ScriptFailed) as caught:
            await client.run("commitInApply", url=quick_service.url, namespace=namespace)
    assert caught.value.name == "TransactionLost"


async def test_a_follower_stops_at_a_fork(start_service: StartService) -> None:
    service = await start_service()
    async with in_node() as client:
        await client.run("publish", url=service.url, namespace="shop")
        await raise_epoch(service.database_url, forked_after=3)
        with pytest.raises(ScriptFailed) as caught:
            await client.run("followFrom", url=service.url, after="1:5", untilCaughtUp=True)
        assert caught.value.error["members"]["forked_after"] == 3


@pytest.mark.parametrize(
    ("view", "kind"), [("File", "node"), ("Sqlite", "newest"), ("Postgres", "node"), ("IndexedDb", "page")]
)
async def test_a_failed_transaction_changes_nothing_and_a_second_process_ends_the_first(
    quick_service: ServiceProcess,
    origin_url: str,
    namespace: str,
    tmp_path: Path,
    fresh_database_url: str,
    view: str,
    kind: str,
) -> None:
    async with engine(kind, origin_url) as client:
        await client.run("publish", url=quick_service.url, namespace=namespace)
        given = {"url": quick_service.url, "namespace": namespace, "path": str(tmp_path / "view.json")}
        before, after, caught = await client.run(f"projectInto{view}", **given, database=members_of(fresh_database_url))
    assert (before, after, caught) == ([], list(range(5)), ["in the middle", True])


def members_of(url: str) -> dict[str, str | None]:
    """Members of a connection of `pg`, which does not read sockets in URLs as libpq does."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    host, port = parts.hostname or query["host"][0], str(parts.port or query.get("port", ["5432"])[0])
    return {"user": parts.username, "host": host, "port": port, "database": parts.path[1:], "password": parts.password}


def test_a_project_tests_with_vitest() -> None:
    """The testing kit in a test runner of others, on a server of its own."""
    environment = clean_environment() | {
        "FACTWIRE_COMMAND": f"{sys.executable} -m factwire",
        "PYTHONPATH": str(ROOT / "app"),
    }
    command = ["node", "node_modules/vitest/vitest.mjs", "run", "--dir", "vitest"]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=PATIENT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


@pytest.mark.parametrize("kind", ["node", "page"])
async def test_a_worker_says_of_each_fact_what_became_of_it(
    quick_service: ServiceProcess, origin_url: str, namespace: str, kind: str
) -> None:
    async with engine(kind, origin_url) as client:
        seen, errors, parked, status = await client.run("work", url=quick_service.url, namespace=namespace)
    assert [each for each in seen if each[0] == "a"] == [["a", 1], ["a", 1]]
    assert [each for each in seen if each[0] == "later"] == [["later", 1], ["later", 2]]
    assert errors == ["secret: 4711", "secret: 4711"]
    assert parked == [["no such customer", 1], ["RangeError", 2]]
    assert (status["in_flight"], status["ready"], status["lag"]["caught_up"]) == (0, 0, True)


async def test_a_worker_publishes_and_acknowledges_at_once(quick_service: ServiceProcess, namespace: str) -> None:
    async with in_node() as client:
        assert await client.run("workAndPublish", url=quick_service.url, namespace=namespace) == [1, True]


async def test_a_worker_keeps_its_lease_and_gives_back_what_it_has_when_it_is_stopped(
    quick_service: ServiceProcess, namespace: str
) -> None:
    async with in_node() as client:
        seen, status = await client.run("workSlowly", url=quick_service.url, namespace=namespace)
    assert seen == [["a", 1]]
    assert (status["in_flight"], status["ready"], status["oldest_open"]["position"]) == (0, 2, status["position"] - 1)
