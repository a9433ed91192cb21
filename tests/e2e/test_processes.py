"""Several processes are one log; a process without its database waits for it."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from uuid import uuid4

import httpx
import psutil

from tests.conftest import StartPostgres, StartService
from tests.e2e.wire import exported, position_of, streaming
from tests.support.builders import new_fact, new_facts, publication
from tests.support.postgres import Databases, name_of, run_sql
from tests.support.service import ROOT, ServiceProcess, clean_environment, free_port
from tests.support.waiting import until


async def test_a_low_limit_of_open_files_is_raised_to_what_the_streams_need(start_service: StartService) -> None:
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before, 512), most))
    try:
        service = await start_service(streams_max=1000)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
    limit, _ = resource.prlimit(service.pid, resource.RLIMIT_NOFILE)
    assert limit == 2000


async def test_two_processes_on_one_database_are_one_log(start_service: StartService) -> None:
    one, other = await start_service(), await start_service()
    async with (
        httpx.AsyncClient(base_url=one.url, timeout=30, verify=False) as first,
        httpx.AsyncClient(base_url=other.url, timeout=30, verify=False) as second,
        streaming(one.url) as following_one,
        streaming(other.url) as following_other,
    ):

        async def publish(client: httpx.AsyncClient) -> None:
            for _ in range(50):
                (await client.post("/v1/facts", json=publication(*new_facts(3)))).raise_for_status()

        await asyncio.gather(publish(first), publish(second))
        for stream in (following_one, following_other):
            await stream.read_until(lambda body: b"\nid: 1:300\n" in body and body.endswith(b"\n\n"))
            assert stream.positions() == list(range(1, 301))
    assert await exported(one.url) == await exported(other.url)


async def test_several_workers_share_one_port(start_service: StartService) -> None:
    service = await start_service(workers=2)
    await until(lambda: has_workers(service.pid, 2))
    for _ in range(20):
        async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
            answer = await client.post("/v1/facts", json=publication())
            assert answer.is_success, answer.text
    assert len(await exported(service.url)) == 20

    victim = workers_of(service.pid)[0]
    victim.kill()
    await until(lambda: is_replaced(service.pid, victim))
    assert await service.terminate() == 0


async def test_workers_end_with_their_parent(start_service: StartService) -> None:
    service = await start_service(workers=2)
    await until(lambda: has_workers(service.pid, 2))
    workers = workers_of(service.pid)
    os.kill(service.pid, signal.SIGKILL)
    await service.ended()
    await asyncio.to_thread(psutil.wait_procs, workers, 15)
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)


async def test_streams_beyond_the_limit_are_asked_to_come_back(start_service: StartService) -> None:
    service = await start_service(streams_max=2)
    async with streaming(service.url) as first, streaming(service.url) as second:
        await first.read_until(lambda body: b"caught-up" in body)
        await second.read_until(lambda body: b"caught-up" in body)
        async with streaming(service.url) as third:
            assert (await third.read_to_the_end()).startswith(b"retry: ")
            assert third.ended_cleanly


async def test_an_old_stream_ends_cleanly_and_resumes_where_it_was(start_service: StartService) -> None:
    service = await start_service(stream_age_seconds_max=1)
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        await client.post("/v1/facts", json=publication(*new_facts(3)))
        async with streaming(service.url) as stream:
            await stream.read_to_the_end()
            assert stream.ended_cleanly
        await client.post("/v1/facts", json=publication(new_fact()))
        async with streaming(service.url, cursor=stream.cursor()) as resumed:
            await resumed.read_until(lambda body: b"caught-up" in body)
            assert resumed.positions() == [4]


async def test_a_service_waits_for_its_database(start_postgres: StartPostgres, start_service: StartService) -> None:
    postgres = await asyncio.to_thread(start_postgres)
    warm = await start_service(database_url=postgres.url)
    assert await warm.terminate() == 0
    await asyncio.to_thread(postgres.stop)
    service = ServiceProcess(
        {"FACTWIRE_DATABASE_URL": postgres.url, "FACTWIRE_PORT": str(free_port())},
        log_path=postgres.directory.with_suffix(".log"),
    )
    try:
        async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
            await until(lambda: answers(client, "/livez", 200), seconds=20)
            assert (await client.get("/readyz")).status_code == 503
            assert (await client.get("/v1/facts")).status_code == 503
            assert (await client.post("/v1/facts", json=publication())).json()["type"].endswith(":unavailable")
            await asyncio.to_thread(postgres.start)
            await until(lambda: answers(client, "/readyz", 200))
            assert await position_of(client) == 0
    finally:
        await service.close()


async def test_settings_that_risk_acknowledged_facts_are_named_at_the_start(
    start_postgres: StartPostgres, start_service: StartService
) -> None:
    postgres = await asyncio.to_thread(start_postgres)
    sound = await start_service(database_url=postgres.url)
    assert await sound.terminate() == 0
    assert "may lose acknowledged facts" not in sound.log

    await asyncio.to_thread(
        run_sql, postgres.url, f'alter database "{name_of(postgres.url)}" set synchronous_commit = off'
    )
    weak = await start_service(database_url=postgres.url)
    assert await weak.terminate() == 0
    assert "may lose acknowledged facts: turn on synchronous_commit" in weak.log


def test_a_role_without_rights_is_told_which_are_missing(databases: Databases, fresh_database_url: str) -> None:
    name = f"{databases.prefix}_poor_{uuid4().hex[:6]}"
    run_sql(fresh_database_url, f"create role {name} login")
    run_sql(fresh_database_url, "drop schema factwire cascade")
    try:
        url = fresh_database_url.replace("://postgres", f"://{name}", 1)
        environment = clean_environment() | {"FACTWIRE_DATABASE_URL": url, "FACTWIRE_PORT": str(free_port())}
        for command in ("migrate", "serve"):
            done = subprocess.run(
                [sys.executable, "-m", "factwire", command],
                env=environment,
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert done.returncode == 1
            assert f"grant create on database {name_of(url)} to {name}" in done.stderr
            assert "Traceback" not in done.stderr
    finally:
        run_sql(fresh_database_url, f"drop role {name}")


async def answers(client: httpx.AsyncClient, path: str, status: int) -> bool:
    try:
        return (await client.get(path)).status_code == status
    except httpx.TransportError:
        return False


def workers_of(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children() if child.status() != psutil.STATUS_ZOMBIE]


async def has_workers(pid: int, count: int) -> bool:
    return len(workers_of(pid)) == count


async def is_replaced(pid: int, victim: psutil.Process) -> bool:
    return len(workers_of(pid)) == 2 and victim.pid not in {worker.pid for worker in workers_of(pid)}
