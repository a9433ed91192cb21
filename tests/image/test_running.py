"""The image does its work as process 1, with a root that it cannot write to."""

import asyncio

import asyncpg
import httpx
import pytest

from tests.e2e.wire import streaming
from tests.image.container import Container
from tests.support.builders import new_fact, publication
from tests.support.service import free_port, settings_of
from tests.support.waiting import until

pytestmark = [pytest.mark.image, pytest.mark.timeout(1000)]

NOBODY_KNOWN = "54321:54321"
DRAIN_SECONDS, GRACE_SECONDS = 1, 45
HOLD_MIGRATIONS = "select pg_advisory_lock(hashtext('factwire migrations'))"
WAITING = "select exists (select from pg_stat_activity where wait_event = 'advisory' and datname = current_database())"


class Serving(Container):
    """`serve` on a loopback port."""

    def __init__(self, image: str, database_url: str, *, user: str | None = None, **settings: object) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        own = settings_of(
            database_url=database_url, host="127.0.0.1", port=port, drain_seconds=DRAIN_SECONDS, **settings
        )
        super().__init__(image, "serve", own, user=user)

    async def ready(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=5, verify=False) as client:
            try:
                await until(lambda: answers(client, "/readyz"), seconds=30)
            except TimeoutError:
                raise AssertionError(self.log) from None


async def answers(client: httpx.AsyncClient, path: str) -> bool:
    try:
        return (await client.get(path)).is_success
    except httpx.TransportError:
        return False


async def published(url: str) -> dict[str, object]:
    fact = new_fact()
    async with httpx.AsyncClient(base_url=url, timeout=30, verify=False) as client:
        (await client.post("/v1/facts", json=publication(fact))).raise_for_status()
    return fact


async def test_it_migrates_serves_follows_and_stops_cleanly(image: str, empty_database_url: str) -> None:
    with Container(image, "migrate", settings_of(database_url=empty_database_url)) as migrating:
        assert await asyncio.to_thread(migrating.exit_code) == 0, migrating.log
    with Serving(image, empty_database_url) as serving:
        await serving.ready()
        async with httpx.AsyncClient(base_url=serving.url, timeout=30, verify=False) as client:
            for path in ("/", "/docs", "/openapi.json", "/problems/condition-failed"):
                assert await answers(client, path), path
        early = await published(serving.url)
        async with streaming(serving.url, "?after=start") as stream:
            await stream.read_until(lambda body: b"event: caught-up" in body)
            late = await published(serving.url)
            body = await stream.read_until(lambda body: str(late["id"]).encode() in body)
            assert body.index(str(early["id"]).encode()) < body.index(b"event: caught-up")
            stopping = asyncio.create_task(asyncio.to_thread(serving.stop, seconds=GRACE_SECONDS))
            await stream.read_to_the_end()
            assert stream.ended_cleanly
        await stopping
        assert serving.exit_code() == 0, serving.log


async def test_it_is_process_1_confined_and_can_write_nowhere(image: str, empty_database_url: str) -> None:
    with Serving(image, empty_database_url) as serving:
        await serving.ready()
        command = serving.execute("cat", "/proc/1/cmdline").stdout.split("\0")
        assert command[1:] == ["-m", "factwire", "serve", ""]
        status = dict(line.split(":\t") for line in serving.execute("cat", "/proc/1/status").stdout.splitlines())
        assert status["Uid"].split() == status["Gid"].split() == ["10001"] * 4
        assert (int(status["CapEff"], 16), status["NoNewPrivs"]) == (0, "1")
        for path in ("/tmp", "/var/tmp", "/factwire"):
            assert "Read-only file system" in serving.execute("touch", f"{path}/x", may_fail=True).stderr


async def test_its_health_check_tells_a_service_that_answers_from_one_that_hangs(
    image: str, empty_database_url: str
) -> None:
    with Serving(image, empty_database_url) as serving:
        await serving.ready()
        assert serving.is_healthy()
        serving.signal("STOP")
        assert not serving.is_healthy()
        serving.signal("CONT")
        assert serving.is_healthy()


async def test_several_workers_stop_cleanly_with_process_1(image: str, empty_database_url: str) -> None:
    with Serving(image, empty_database_url, workers=2) as serving:
        await serving.ready()
        await published(serving.url)
        serving.stop(seconds=GRACE_SECONDS)
        assert serving.exit_code() == 0, serving.log


async def test_it_runs_as_a_user_whom_the_image_does_not_know(image: str, empty_database_url: str) -> None:
    with Serving(image, empty_database_url, user=NOBODY_KNOWN) as serving:
        await serving.ready()
        await published(serving.url)


async def test_a_migration_that_waits_obeys_the_stop_signal(image: str, empty_database_url: str) -> None:
    """The kernel does not end process 1 for it as it ends others."""
    holder = await asyncpg.connect(empty_database_url)
    try:
        await holder.execute(HOLD_MIGRATIONS)
        with Container(image, "migrate", settings_of(database_url=empty_database_url)) as migrating:
            await until(lambda: holder.fetchval(WAITING))
            migrating.signal("TERM")
            assert await asyncio.to_thread(migrating.exit_code) == 128 + 15, migrating.log
    finally:
        await holder.close()


async def test_without_a_database_it_names_the_setting(image: str) -> None:
    with Container(image, "serve", settings_of(auth="none")) as serving:
        assert await asyncio.to_thread(serving.exit_code) == 1
        assert "FACTWIRE_DATABASE_URL" in serving.log
        assert "Traceback" not in serving.log


async def test_it_is_open_to_whoever_reaches_it_only_where_somebody_has_said_so(image: str) -> None:
    with Container(image, "serve", {}) as serving:
        assert await asyncio.to_thread(serving.exit_code) == 2
        assert "FACTWIRE_AUTH" in serving.log
