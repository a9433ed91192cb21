"""`factwire subscriptions` and `factwire work`, as a shell user has them."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from factwire.cli.exit_codes import Exit
from factwire.cli.work import PARKS
from tests.conftest import StartService
from tests.e2e.test_commands import lines, publish, run
from tests.support.builders import new_fact
from tests.support.service import ROOT, ServiceProcess, clean_environment
from tests.support.waiting import until

PAYLOAD = '{"b":1.10,"a":1e400}'


@pytest.fixture
async def service(start_service: StartService) -> ServiceProcess:
    return await start_service()


async def answered(service: ServiceProcess, *arguments: str) -> list[dict[str, Any]]:
    done = await run(service, "subscriptions", *arguments)
    assert done.returncode == Exit.DONE, done.stderr
    return lines(done.stdout)


async def status(service: ServiceProcess, name: str) -> dict[str, Any]:
    [shown] = await answered(service, "show", name)
    return shown


async def orders(service: ServiceProcess, *names: str) -> None:
    await publish(service, *[new_fact(namespace="shop", type="Placed", aggregate_ids=[name]) for name in names])


async def test_a_subscription_is_created_shown_changed_and_deleted(service: ServiceProcess) -> None:
    options = ("--namespace", "shop", "--type", "Placed", "--max-attempts", "3", "--ordering", "all")
    [created] = await answered(service, "create", "billing", *options)
    assert created["query"] == {"items": [{"namespaces": ["shop"], "types": ["Placed"]}]}
    assert (created["max_attempts"], created["ordering"], created["state"]) == (3, "all", "active")
    [changed] = await answered(service, "change", "billing", "--in-flight-max", "7")
    assert changed | {"in_flight_max": 1000} == created
    [changed] = await answered(service, "change", "billing", "--type", "Paid")
    assert (changed["query"], changed["in_flight_max"]) == ({"items": [{"types": ["Paid"]}]}, 7)
    await answered(service, "change", "billing", "--namespace", "shop")
    [paused] = await answered(service, "pause", "billing", "--reason", "closed")
    assert (paused["state"], paused["reason"]) == ("paused", "closed")
    [resumed] = await answered(service, "resume", "billing")
    assert resumed["state"] == "active"
    await orders(service, "a")
    [reset] = await answered(service, "reset", "billing", "start")
    assert (reset["position"], reset["generation"]) == (0, 2)
    assert [each["name"] for each in await answered(service, "list")] == ["billing"]
    assert await answered(service, "delete", "billing") == [{"status": "deleted"}]
    gone = await run(service, "subscriptions", "show", "billing")
    assert gone.returncode == Exit.FAILED
    assert json.loads(gone.stderr)["type"].endswith("subscription-not-found")


async def test_each_fact_is_given_to_a_command_as_it_was_published(service: ServiceProcess, tmp_path: Path) -> None:
    done = await run(service, "publish", "shop", "Placed", PAYLOAD, "--aggregate-id", "a")
    assert done.returncode == Exit.DONE
    await answered(service, "create", "billing", "--start", "start")
    shell = f'echo "$FACTWIRE_SUBSCRIPTION $FACTWIRE_ATTEMPT" > {tmp_path}/told; cat > {tmp_path}/fact'
    worked = await run(service, "work", "billing", "--until-caught-up", "--", "sh", "-c", shell)
    assert worked.returncode == Exit.DONE, worked.stderr
    assert (tmp_path / "told").read_text() == "billing 1\n"
    assert f'"payload":{PAYLOAD}}}\n' in (tmp_path / "fact").read_text()
    shown = await status(service, "billing")
    assert (shown["in_flight"], shown["lag"]["caught_up"]) == (0, True)


async def test_the_exit_code_says_what_becomes_of_the_fact(service: ServiceProcess) -> None:
    await orders(service, "done", "parked", "again")
    await answered(service, "create", "billing", "--start", "start", "--max-attempts", "2")
    shell = f"case $(cat) in *parked*) exit {PARKS};; *again*) exit 7;; esac"
    worked = await run(service, "work", "billing", "--until-caught-up", "--", "sh", "-c", shell)
    assert worked.returncode == Exit.DONE
    assert b"ended with 7" in worked.stderr
    shown = await status(service, "billing")
    assert (shown["parked"], shown["delayed"]) == (1, 1)
    [parked] = await answered(service, "parked", "billing")
    assert (parked["fact"]["aggregate_ids"], parked["reason"]) == (["parked"], f"exit code {PARKS}")
    position = str(parked["fact"]["position"])
    assert await answered(service, "replay", "billing", "--position", position) == [{"facts": 1}]
    await run(service, "work", "billing", "--until-caught-up", "--", "sh", "-c", shell)
    assert await answered(service, "discard", "billing", "--aggregate-id", "parked") == [{"facts": 1}]
    await answered(service, "discard", "billing", "--all")
    assert (await status(service, "billing"))["parked"] == 0


def has_ended(pid: int) -> bool:
    """True for a zombie, too: whoever adopts it may not wait for it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_a_worker_that_is_stopped_stops_its_command_and_gives_back_its_facts(
    service: ServiceProcess, tmp_path: Path
) -> None:
    await orders(service, "a", "b")
    await answered(service, "create", "billing", "--start", "start")
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "factwire", "work", "billing", "--url", service.url),
        *("--", "sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait"),
        cwd=ROOT,
        env=clean_environment(),
    )
    await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    worker.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(worker.wait(), 20) == 128 + signal.SIGTERM
    await until(lambda: has_ended(int((tmp_path / "pid").read_text())))
    shown = await status(service, "billing")
    assert (shown["in_flight"], shown["ready"]) == (0, 2)


async def test_what_cannot_be_done_is_said(service: ServiceProcess) -> None:
    async with httpx.AsyncClient(base_url=service.url) as client:
        await client.put("/v1/subscriptions/billing", json={"query": {}, "start": "start"})
    await orders(service, "a")
    for arguments, code in (
        (("work", "none", "--", "true"), Exit.FAILED),
        (("work", "billing"), Exit.USAGE),
        (("work", "billing", "--", "no-such-command"), Exit.USAGE),
        (("subscriptions", "create", "billing", "--ordering", "none"), Exit.CONFLICT),
        (("subscriptions", "replay", "billing"), Exit.USAGE),
        (("subscriptions", "reset", "billing", "yesterday"), Exit.FAILED),
        (("subscriptions", "create", "a b"), Exit.FAILED),
    ):
        done = await run(service, *arguments)
        assert (done.returncode, b"Traceback" in done.stderr) == (code, False), (arguments, done.stderr)
