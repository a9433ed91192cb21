"""The doctor finds nothing where all is well, and names each thing that is not, with what mends it."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from factwire.doctor.database_measurements import find_old_transactions
from factwire.store.schema.migrate import migrate
from tests.conftest import StartPostgres, StartService
from tests.e2e.proxy import Proxy, proxied
from tests.e2e.wire import Acknowledged, exported, keep_publishing
from tests.faults.pair import Pair
from tests.integration.store import a_fact, append_alone
from tests.support.postgres import Databases, give_stub_locks, name_of, run_sql, url_as
from tests.support.service import ROOT, clean_environment, free_port, settings_of

SMALL_PARTITIONS = """
set session_replication_role = replica;
drop table factwire.facts_p0, factwire.fact_tags_p0;
update factwire.log set partition_facts = 50;
select factwire.create_partition(0);
"""

STORE_ANOTHER_SERVER = "update factwire.log set system_identifier = 1, timeline = 1"
LOCK_LOG = "select factwire.lock_log()"
PASSWORD = "open-sesame"

Findings = dict[str, dict[str, str]]


def run(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "factwire", "doctor", *arguments],
        env=clean_environment() | settings_of(**settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def found(*arguments: str, **settings: object) -> Findings:
    """The findings by the name of their check; what is wrong comes before what is not."""
    done = run("--json", *arguments, **{"url": f"http://127.0.0.1:{free_port()}"} | settings)
    assert not done.stderr
    findings = json.loads(done.stdout)["findings"]
    assert done.returncode == any(finding["verdict"] == "wrong" for finding in findings)
    assert all(finding["change"] for finding in findings if finding["verdict"] != "ok")
    return {finding["check"]: finding for finding in sorted(findings, key=lambda each: each["verdict"] == "wrong")}


TIMED = {"server", "answers", "commits", "delivery"}


def verdicts(findings: Findings) -> dict[str, str]:
    return {check: finding["verdict"] for check, finding in findings.items()}


@pytest.fixture
def poor_url(fresh_database_url: str) -> Iterator[str]:
    """The test's database as a role sees it that has no rights there."""
    role = f"poor_{uuid4().hex[:12]}"
    run_sql(fresh_database_url, f"create role {role} login password '{PASSWORD}'")
    yield url_as(fresh_database_url, role, PASSWORD)
    run_sql(fresh_database_url, f"drop owned by {role}")
    run_sql(fresh_database_url, f"drop role {role}")


async def test_where_all_is_well_nothing_has_to_be_changed(
    start_postgres: StartPostgres, start_service: StartService
) -> None:
    postgres = await asyncio.to_thread(start_postgres)
    for statement in ("set shared_buffers = '160MB'", "set max_wal_size = '8GB'"):
        await asyncio.to_thread(run_sql, postgres.url, f"alter system {statement}")
    await asyncio.to_thread(postgres.stop)
    await asyncio.to_thread(postgres.start)
    service = await start_service(database_url=postgres.url)
    arguments = ("--publish-in", "doctor", "--seconds", "1")
    done = await asyncio.to_thread(run, *arguments, database_url=postgres.url, url=service.url)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    checks = {line.split()[1] for line in lines if line.startswith("ok ")}
    # On a busy machine, what is slow gets a note.
    assert {line.split()[1] for line in lines if line.startswith(("note ", "wrong "))} <= TIMED
    assert checks >= {
        "server",
        "rights",
        "durability",
        "history",
        "listening",
        "stream",
        "heartbeat",
        "idle",
    }
    assert [fact["namespace"] for fact in await exported(service.url)] == ["doctor"] * 5


async def test_nothing_is_published_unless_a_namespace_is_named(start_service: StartService) -> None:
    service = await start_service()
    findings = await asyncio.to_thread(found, database_url=service.database_url, url=service.url)
    assert "delivery" not in findings
    assert findings["body"]["verdict"] == "ok"
    assert await exported(service.url) == []


def test_the_grants_that_it_names_are_what_a_role_lacks(fresh_database_url: str, poor_url: str) -> None:
    rights = found(database_url=poor_url)["rights"]
    assert rights["verdict"] == "wrong"
    run_sql(fresh_database_url, rights["change"].partition(": ")[2])
    assert found(database_url=poor_url)["rights"]["verdict"] == "ok"


def test_a_single_right_that_is_missing_is_named(fresh_database_url: str, poor_url: str) -> None:
    role = urlsplit(poor_url).username
    run_sql(fresh_database_url, found(database_url=poor_url)["rights"]["change"].partition(": ")[2])
    run_sql(fresh_database_url, f"revoke insert on factwire.fact_tags from {role}")
    rights = found(database_url=poor_url)["rights"]
    assert rights["change"].endswith(f": grant insert on factwire.fact_tags to {role}")


@pytest.mark.parametrize(
    "right", ["update (last_used_at, revoked_at) on factwire.keys", "delete on factwire.tickets, factwire.sessions"]
)
def test_the_rights_of_keys_and_tickets_are_named_too(fresh_database_url: str, poor_url: str, right: str) -> None:
    role = urlsplit(poor_url).username
    run_sql(fresh_database_url, found(database_url=poor_url)["rights"]["change"].partition(": ")[2])
    run_sql(fresh_database_url, f"revoke {right} from {role}")
    assert found(database_url=poor_url)["rights"]["change"].endswith(f": grant {right} to {role}")


def test_each_setting_that_risks_facts_is_named_with_what_turns_it_on(start_postgres: StartPostgres) -> None:
    url = start_postgres().url
    assert found(database_url=url)["durability"]["verdict"] == "ok"
    for weakening, name in (
        (f"alter database {name_of(url)} set synchronous_commit = off", "synchronous_commit"),
        ("alter system set fsync = off", "fsync"),
    ):
        apply(url, f"{weakening}; select pg_reload_conf()")
        durability = found(database_url=url)["durability"]
        assert durability["verdict"] == "wrong"
        assert durability["detail"].startswith(f"{name} is off")
        apply(url, durability["change"])
        assert found(database_url=url)["durability"]["verdict"] == "ok"


def test_a_schema_that_is_missing_old_or_newer_is_told(fresh_database_url: str) -> None:
    for change, verdict in (
        ("update factwire.alembic_version set version_num = '1000'", "wrong"),
        ("update factwire.alembic_version set version_num = '9999'", "note"),
        ("drop schema factwire cascade", "wrong"),
    ):
        run_sql(fresh_database_url, change)
        findings = found(database_url=fresh_database_url)
        assert findings["schema"]["verdict"] == verdict
        assert ("factwire migrate" in findings["schema"]["change"]) == (verdict == "wrong")
        assert not any("could not be checked" in finding["detail"] for finding in findings.values())


def test_a_history_that_nobody_confirmed_or_that_forked_is_told_with_what_ends_it(fresh_database_url: str) -> None:
    assert found(database_url=fresh_database_url)["history"]["verdict"] == "ok"
    for change, verdict, told, command in (
        (STORE_ANOTHER_SERVER, "note", "server 1 -> ", "`factwire epoch keep`"),
        ("update factwire.log set forked_at = now()", "wrong", "an unknown position", "raise --forked-after N`"),
        ("update factwire.log set forked_after = 7", "wrong", "after position 7 ", "raise --forked-after 7"),
    ):
        run_sql(fresh_database_url, change)
        history = found(database_url=fresh_database_url)["history"]
        assert (history["verdict"], told in history["detail"], command in history["change"]) == (verdict, True, True)


def test_too_few_connections_are_told(fresh_database_url: str, poor_url: str) -> None:
    assert found("--processes", "2", database_url=fresh_database_url)["connections"]["verdict"] == "ok"
    connections = found("--processes", "1000", database_url=fresh_database_url)["connections"]
    assert connections["verdict"] == "wrong"
    assert connections["detail"].startswith("19000 may be needed")
    run_sql(fresh_database_url, f"alter role {urlsplit(poor_url).username} connection limit 18")
    assert found(database_url=poor_url)["connections"]["verdict"] == "wrong"
    assert found(database_url=poor_url, read_connections_max=7)["connections"]["verdict"] == "ok"


def test_an_encoding_that_cannot_hold_every_text_is_told(databases: Databases) -> None:
    name = f"{databases.prefix}_latin_{uuid4().hex[:6]}"
    run_sql(databases.server_url, f"create database {name} encoding 'LATIN1' locale 'C' template template0")
    try:
        assert found(database_url=databases.url(name))["encoding"]["verdict"] == "wrong"
    finally:
        databases.drop(databases.url(name))


async def test_partitions_that_run_out_are_told(fresh_database_url: str) -> None:
    await asyncio.to_thread(run_sql, fresh_database_url, SMALL_PARTITIONS)
    findings = await asyncio.to_thread(found, database_url=fresh_database_url)
    assert findings["partitions"]["verdict"] == "ok"
    connection = await asyncpg.connect(fresh_database_url)
    await append_alone(connection, *(a_fact() for _ in range(40)))
    await connection.close()
    findings = await asyncio.to_thread(found, database_url=fresh_database_url)
    assert findings["partitions"]["verdict"] == "wrong"


async def test_an_old_transaction_is_told_with_its_process(fresh_database_url: str) -> None:
    one, other = await asyncpg.connect(fresh_database_url), await asyncpg.connect(fresh_database_url)
    async with other.transaction():
        await other.execute("select 1")
        [finding] = [finding async for finding in find_old_transactions(one, seconds_max=0)]
        assert finding.verdict == "note"
        [finding] = [finding async for finding in find_old_transactions(one, seconds_max=3600)]
        assert finding.verdict == "ok"
    await one.close()
    await other.close()


def test_locks_that_exclude_nobody_are_told(fresh_database_url: str) -> None:
    assert found(database_url=fresh_database_url)["lock"]["verdict"] != "wrong"
    give_stub_locks(fresh_database_url)
    lock = found(database_url=fresh_database_url)["lock"]
    assert (lock["verdict"], "two sessions" in lock["detail"]) == ("wrong", True)


async def test_a_foreign_session_that_holds_the_lock_of_the_log_is_named(fresh_database_url: str) -> None:
    for application in ("psql", "", "factwire append"):
        holder = await asyncpg.connect(fresh_database_url, server_settings={"application_name": application})
        async with holder.transaction():
            await holder.execute(LOCK_LOG)
            lock = (await asyncio.to_thread(found, database_url=fresh_database_url))["lock"]
        is_foreign = application != "factwire append"
        assert (lock["verdict"] == "wrong") == is_foreign
        assert (f"process {holder.get_server_pid()} of role" in lock["detail"]) == is_foreign
        await holder.close()


async def test_a_prepared_transaction_that_holds_the_lock_of_the_log_is_told(start_postgres: StartPostgres) -> None:
    postgres = await asyncio.to_thread(start_postgres)
    await asyncio.to_thread(migrate, postgres.url)
    await asyncio.to_thread(run_sql, postgres.url, "alter system set max_prepared_transactions = 1")
    await asyncio.to_thread(postgres.stop)
    await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(run_sql, postgres.url, f"begin; {LOCK_LOG}; prepare transaction 'forgotten'")
    lock = (await asyncio.to_thread(found, database_url=postgres.url))["lock"]
    assert (lock["verdict"], "pg_prepared_xacts" in lock["change"]) == ("wrong", True)


def test_roles_that_could_hold_the_lock_of_the_log_are_counted(fresh_database_url: str, poor_url: str) -> None:
    database, role = name_of(fresh_database_url), urlsplit(poor_url).username
    lock = found(database_url=fresh_database_url)["lock"]
    assert (lock["verdict"], "other roles may connect" in lock["detail"]) == ("note", True)
    apply(fresh_database_url, lock["change"])
    lock = found(database_url=fresh_database_url)["lock"]
    assert (lock["verdict"], "superusers" in lock["detail"]) == ("ok", True)
    run_sql(fresh_database_url, f'grant connect on database "{database}" to {role}')
    assert found(database_url=fresh_database_url)["lock"]["detail"].startswith("1 other roles")
    # Its own role is the one that the service has.
    assert found(database_url=poor_url)["lock"]["verdict"] == "ok"


def test_notifications_that_do_not_arrive_are_told(databases: Databases, fresh_database_url: str) -> None:
    elsewhere = databases.create()
    try:
        listening = found(database_url=fresh_database_url, listen_url=elsewhere)["listening"]
        assert (listening["verdict"], "FACTWIRE_LISTEN_URL" in listening["change"]) == ("wrong", True)
        listening = found(database_url=fresh_database_url, listen_url=fresh_database_url)["listening"]
        assert listening["verdict"] == "ok"
    finally:
        databases.drop(elsewhere)


def test_a_standby_is_noted_as_no_place_to_publish_and_one_that_is_waited_for_in_vain_is_told() -> None:
    directory = Path(mkdtemp(prefix="factwire-pair-"))
    directory.chmod(0o777)  # the servers run as a user of their own
    pair = Pair(directory, synchronous=True)
    try:
        apply(pair.primary.url, "create table waited_for ()")  # returns once the standby has it
        findings = found(database_url=pair.standby.url)
        assert (findings["primary"]["verdict"], "nothing is published" in findings["primary"]["detail"]) == (
            "note",
            True,
        )
        assert "history" not in findings  # there is no schema
        assert not any("could not be checked" in finding["detail"] for finding in findings.values())
        assert found(database_url=pair.primary.url)["standbys"]["verdict"] == "ok"
        pair.standby.kill()
        findings = found(database_url=pair.primary.url)
        assert findings["standbys"]["verdict"] == "wrong"
        assert findings["commits"]["verdict"] == "wrong"
    finally:
        pair.remove()
        shutil.rmtree(directory)


def test_a_database_that_cannot_be_reached_is_told_without_its_password() -> None:
    url = f"postgresql://app:{PASSWORD}@127.0.0.1:{free_port()}/log"
    service_url = f"http://app:{PASSWORD}@127.0.0.1:{free_port()}"
    done = run(database_url=url, url=service_url)
    assert done.returncode == 1
    assert [line.split()[:2] for line in done.stdout.splitlines()[::2]] == [["wrong", "database"], ["wrong", "service"]]
    assert PASSWORD not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_password_is_not_printed_where_all_else_is_told(poor_url: str) -> None:
    for arguments in ((), ("--json",)):
        done = run(*arguments, database_url=poor_url, url=f"http://app:{PASSWORD}/x@127.0.0.1:1")
        assert "rights" in done.stdout
        assert PASSWORD not in done.stdout + done.stderr


def test_without_a_url_the_embedded_database_is_examined_if_it_runs(
    start_postgres: StartPostgres, tmp_path: Path
) -> None:
    assert found(data_dir=tmp_path)["database"]["verdict"] == "note"
    assert found(data_dir=start_postgres().directory)["server"]["verdict"] == "ok"


async def test_a_proxy_that_holds_streams_back_is_told(start_service: StartService) -> None:
    service = await start_service()
    async with proxied(Proxy(service.port)) as url:
        findings = await asyncio.to_thread(found, "--publish-in", "doctor", url=url)
        assert "wrong" not in verdicts(findings).values()  # on a busy machine, what is slow gets a note
    async with proxied(Proxy(service.port, holds_streams=True)) as url:
        findings = await asyncio.to_thread(found, "--publish-in", "doctor", url=url)
    assert verdicts(findings) | {"stream": "wrong", "delivery": "wrong", "body": "ok"} == verdicts(findings)
    assert "heartbeat" not in findings
    assert "proxy_buffering off" in findings["stream"]["change"]


async def test_a_proxy_that_refuses_large_bodies_or_marks_streams_as_compressed_is_told(
    start_service: StartService,
) -> None:
    service = await start_service()
    async with proxied(Proxy(service.port, body_bytes_max=1024 * 1024, compresses=True)) as url:
        findings = await asyncio.to_thread(found, url=url)
    assert verdicts(findings) | {"body": "wrong", "headers": "wrong", "stream": "ok"} == verdicts(findings)
    assert "413" in findings["body"]["detail"]
    assert "client_max_body_size" in findings["body"]["change"]


async def test_a_proxy_that_cuts_idle_streams_is_told(start_service: StartService) -> None:
    service = await start_service()
    async with proxied(Proxy(service.port, idle_seconds=1)) as url:
        findings = await asyncio.to_thread(found, "--seconds", "8", url=url)
    assert verdicts(findings) | {"stream": "ok", "heartbeat": "wrong", "idle": "wrong"} == verdicts(findings)


@pytest.fixture
def elsewhere(databases: Databases) -> Iterator[str]:
    """Another database, with an empty log."""
    url = databases.create()
    yield url
    databases.drop(url)


async def test_a_service_with_another_log_is_told(
    elsewhere: str, fresh_database_url: str, tmp_path: Path, start_service: StartService
) -> None:
    service = await start_service()
    for url in (fresh_database_url, elsewhere):  # longer, then as long but another
        connection = await asyncpg.connect(url)
        await append_alone(connection, a_fact())
        await connection.close()
        assert (await asyncio.to_thread(found, database_url=elsewhere, url=service.url))["log"]["verdict"] == "wrong"
    told = (await asyncio.to_thread(found, database_url=fresh_database_url, url=service.url))["log"]
    assert (told["verdict"], told["detail"]) == ("ok", "service and database are both at 1:1")
    told = (await asyncio.to_thread(found, data_dir=tmp_path, url=service.url))["log"]
    assert told["verdict"] == "note"


async def test_a_log_that_grows_meanwhile_is_still_one(start_service: StartService) -> None:
    service = await start_service()
    told, done = Acknowledged(), asyncio.Event()
    publishing = asyncio.create_task(keep_publishing(service.url, told, done))
    findings = await asyncio.to_thread(found, database_url=service.database_url, url=service.url)
    done.set()
    await publishing
    assert told.positions
    assert findings["log"]["verdict"] == "ok"


async def test_an_entry_that_publishes_v1_only_is_looked_through(start_service: StartService) -> None:
    service = await start_service()
    async with proxied(Proxy(service.port, v1_only=True)) as url:
        findings = await asyncio.to_thread(found, database_url=service.database_url, url=url)
    assert verdicts(findings) | {"service": "note", "state": "note", "log": "ok", "body": "ok"} == verdicts(findings)
    assert "wrong" not in {findings[check]["verdict"] for check in ("stream", "heartbeat", "headers", "answers")}
    assert "/readyz" in findings["service"]["detail"]
    assert "/metrics" in findings["state"]["detail"]


@pytest.mark.parametrize("arguments", [("--seconds", "-5"), ("--seconds", "nan"), ("--processes", "0")])
def test_a_number_that_makes_no_sense_is_refused(arguments: tuple[str, str]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"argument {arguments[0]}: expected" in done.stderr


async def test_what_is_no_factwire_is_told() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    findings = await asyncio.to_thread(found, url=url)
    server.close()
    assert findings["service"]["verdict"] == "wrong"
    assert "is not Factwire" in findings["service"]["detail"]


def apply(url: str, statements: str) -> None:
    """Run each statement by itself: ALTER SYSTEM takes no part in a transaction."""
    for statement in statements.split("; "):
        run_sql(url, statement)
