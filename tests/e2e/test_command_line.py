"""What a newcomer types: serve, import, tail, and the lines that serve prints."""

import asyncio
import gzip
import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from factwire import __version__
from factwire.cli.exit_codes import Exit
from factwire.cli.serve import FIRST_STEPS
from tests.conftest import StartService
from tests.e2e.wire import exported, streaming
from tests.support.builders import new_fact, publication
from tests.support.service import ROOT, ServiceProcess, clean_environment, free_port

LOANS = ROOT.parent / "shared" / "data" / "loan-applications.ndjson.gz"
LOAN_LINES = 3_000


def run(service: ServiceProcess, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "factwire", *arguments],
        env=clean_environment() | {"FACTWIRE_URL": service.url},
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        timeout=50,
        check=False,
    )


def lines(*facts: dict[str, object]) -> bytes:
    return b"".join(json.dumps(fact).encode() + b"\n" for fact in facts)


async def test_import_takes_a_file_a_compressed_file_and_standard_input(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await start_service()
    facts = [new_fact() for _ in range(30)]
    plain, packed = tmp_path / "facts.ndjson", tmp_path / "facts.ndjson.gz"
    plain.write_bytes(lines(*facts[:10]))
    packed.write_bytes(gzip.compress(lines(*facts[10:20])))
    for arguments, stdin in (((str(plain),), b""), ((str(packed),), b""), (("-",), lines(*facts[20:]))):
        done = await asyncio.to_thread(run, service, "import", *arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["result"]["published"] == 10
    assert [fact["id"] for fact in await exported(service.url)] == [fact["id"] for fact in facts]


async def test_import_stops_at_a_bad_line_and_says_which(start_service: StartService) -> None:
    service = await start_service()
    content = lines(new_fact(), new_fact()) + b'{"namespace": "shop"}\n' + lines(new_fact())
    done = await asyncio.to_thread(run, service, "import", "-", stdin=content)
    assert done.stdout == b""
    problem = json.loads(done.stderr.splitlines()[-1])["problem"]
    assert (done.returncode, problem["line"], problem["progress"]["published"]) == (1, 3, 2)
    assert len(await exported(service.url)) == 2


def test_the_version_is_told() -> None:
    command = [sys.executable, "-m", "factwire", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"factwire {__version__}\n", "")


async def test_import_says_when_nobody_listens() -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "factwire", "import", "-", "--url", f"http://127.0.0.1:{free_port()}"],
        cwd=ROOT,
        input=b"{}",
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == Exit.UNREACHABLE
    assert b"Traceback" not in done.stderr


async def test_tail_prints_facts_and_goes_on_after_a_restart(start_service: StartService) -> None:
    service = await start_service(retry_seconds=0.1)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "factwire", "tail", "--after", "start", "--namespace", "shop", "--url", service.url),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        for round in (1, 2):
            async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
                (await client.post("/v1/facts", json=publication(new_fact(namespace="other")))).raise_for_status()
                (
                    await client.post("/v1/facts", json=publication(new_fact(payload=[round, "\u2028\x85"])))
                ).raise_for_status()
            line = await asyncio.wait_for(process.stdout.readline(), 20)
            assert json.loads(line)["payload"] == [round, "\u2028\x85"]
            if round == 1:
                await service.terminate()
                service = await start_service(port=service.port)
    finally:
        process.kill()
        await process.wait()


def test_a_directory_that_holds_something_else_is_left_alone(data_directory: Path) -> None:
    data_directory.mkdir()
    kept = data_directory / "kept"
    kept.write_text("mine")
    owner = data_directory.stat().st_uid
    done = subprocess.run(
        [sys.executable, "-m", "factwire", "migrate"],
        cwd=ROOT,
        env=clean_environment() | {"FACTWIRE_DATA_DIR": str(data_directory)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("factwire: FACTWIRE_DATA_DIR: ")
    assert (data_directory.stat().st_uid, kept.stat().st_uid, list(data_directory.iterdir())) == (owner, owner, [kept])


async def test_the_first_steps_work_and_a_second_start_finds_the_facts(data_directory: Path) -> None:
    settings = {"FACTWIRE_DATA_DIR": str(data_directory), "FACTWIRE_PORT": str(free_port())}
    log_path = data_directory.parent / "service.log"
    async with ServiceProcess(settings, log_path=log_path) as service:
        printed = FIRST_STEPS.format(url=service.url, key="")
        assert printed in service.log
        commands = commands_of(printed)
        assert json.loads(await shell(commands["publish"]))["position"] == 1
        assert json.loads(await shell(commands["read"]))["facts"][0]["payload"] == {"total": 12.5}
        assert b"event: caught-up" in await shell(f"timeout 2 {commands['follow']}", may_fail=True)
        assert await service.terminate() == 0
    async with ServiceProcess(settings, log_path=log_path) as service:
        assert [fact["position"] for fact in await exported(service.url)] == [1]


async def test_of_two_services_on_one_directory_the_last_stops_the_server(data_directory: Path) -> None:
    log_path = data_directory.parent / "service.log"
    ports = [{"FACTWIRE_DATA_DIR": str(data_directory), "FACTWIRE_PORT": str(free_port())} for _ in range(2)]
    async with ServiceProcess(ports[0], log_path=log_path) as one, ServiceProcess(ports[1], log_path=log_path) as other:
        assert await other.terminate() == 0
        assert await exported(one.url) == []
        assert await one.terminate() == 0
    assert not (data_directory / "postmaster.pid").exists()


async def test_a_taken_port_is_named(start_service: StartService) -> None:
    service = await start_service()
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "factwire", "serve"],
        env=clean_environment() | service.settings,
        cwd=ROOT,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert f"port {service.port}".encode() in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not LOANS.exists(), reason="the loan applications are not beside this checkout")
async def test_the_loan_process_comes_back_as_it_was(start_service: StartService) -> None:
    service = await start_service()
    with gzip.open(LOANS) as file:
        given = [next(file).rstrip(b"\n") for _ in range(LOAN_LINES)]
    content = b"\n".join(given) + b"\n"
    for published in (LOAN_LINES, 0):
        done = await asyncio.to_thread(run, service, "import", "-", stdin=content)
        assert json.loads(done.stdout)["result"]["published"] == published, done.stderr

    async with streaming(service.url) as stream:
        body = await stream.read_until(lambda body: b"event: caught-up" in body)
    sent = [line.partition(b",")[2].partition(b",")[2] for line in body.split(b"\n") if line.startswith(b"data: ")]
    assert [b"{" + document for document in sent[:-1]] == given

    facts = [json.loads(line) for line in given]
    case = facts[0]["aggregate_ids"][0]
    for parameters, expected in (
        ({"aggregate_id": case}, [fact for fact in facts if case in fact["aggregate_ids"]]),
        ({"type": "A_SUBMITTED"}, [fact for fact in facts if fact["type"] == "A_SUBMITTED"]),
        ({"meta": "resource:112"}, [fact for fact in facts if fact["meta"].get("resource") == "112"]),
    ):
        async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
            found = (await client.get("/v1/facts/export", params=parameters)).text.splitlines()
        assert len(expected) > 1
        assert [json.loads(line)["id"] for line in found] == [fact["id"] for fact in expected]


def commands_of(printed: str) -> dict[str, str]:
    """The command behind each name, line breaks within quotes included."""
    body = printed.partition("publish:")[2]
    publish, _, rest = body.partition("read:")
    read, _, follow = rest.partition("follow:")
    return {"publish": publish.strip(), "read": read.strip(), "follow": follow.strip()}


async def shell(command: str, *, may_fail: bool = False) -> bytes:
    process = await asyncio.create_subprocess_shell(
        command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    assert may_fail or process.returncode == 0, output
    return output
