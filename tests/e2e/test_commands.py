"""The commands that speak HTTP, as a shell user has them: what they print, how they end, and where they go on."""

import asyncio
import gzip
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from factwire.cli.exit_codes import Exit
from factwire.cli.main import new_parser
from tests.conftest import StartService
from tests.e2e.proxy import Proxy, proxied
from tests.e2e.wire import exported
from tests.support.builders import new_fact, new_facts, publication
from tests.support.service import ROOT, ServiceProcess, clean_environment, free_port

PAYLOAD = '{"b":1.10,"a":1e400,"b":"\\ud800\u2028"}'


def command(
    *arguments: str, url: str, stdin: bytes | None = None, cwd: Path = ROOT, encoding: str | None = None
) -> subprocess.CompletedProcess[bytes]:
    environment = clean_environment() | {"FACTWIRE_URL": url, "PYTHONPATH": str(ROOT)}
    if encoding is not None:
        environment["PYTHONIOENCODING"] = encoding
    return subprocess.run(
        [sys.executable, "-m", "factwire", *arguments],
        cwd=cwd,
        env=environment,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        timeout=50,
        check=False,
    )


async def run(
    service: ServiceProcess, *arguments: str, stdin: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    return await asyncio.to_thread(command, *arguments, url=service.url, stdin=stdin)


async def publish(service: ServiceProcess, *facts: dict[str, object]) -> None:
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=False) as client:
        (await client.post("/v1/facts", json=publication(*facts))).raise_for_status()


def lines(output: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.split(b"\n") if line]


async def test_a_fact_is_published_and_read_to_the_byte(start_service: StartService) -> None:
    service = await start_service()
    arguments = ("publish", "shop", "Noted", "--aggregate-id", "order-1", "--meta", "tenant:a:b", "--version", "2")
    done = await run(service, *arguments, stdin=PAYLOAD.encode())
    (result,) = lines(done.stdout)
    assert (done.returncode, result["position"]) == (Exit.DONE, 1), done.stderr
    for reading in (("read",), ("read", "1"), ("read", "--newest", "--limit", "1"), ("export",)):
        read = await run(service, *reading)
        assert read.stdout.endswith(f'"payload":{PAYLOAD}}}\n'.encode()), read.stderr
        (fact,) = lines(read.stdout)
        assert (fact["aggregate_ids"], fact["meta"], fact["version"]) == (["order-1"], {"tenant": "a:b"}, 2)


async def test_a_condition_that_fails_is_a_conflict_and_tells_the_fact(start_service: StartService) -> None:
    service = await start_service()
    condition = ("--fail-if-match", '{"types": ["Opened"], "aggregate_ids": ["order-1"]}')
    arguments = ("publish", "shop", "Opened", "{}", "--aggregate-id", "order-1", *condition)
    assert (await run(service, *arguments)).returncode == Exit.DONE
    done = await run(service, *arguments)
    assert (done.returncode, done.stdout) == (Exit.CONFLICT, b"")
    assert json.loads(done.stderr)["position"] == 1
    assert (await run(service, *arguments, "--after", "1")).returncode == Exit.DONE


async def test_a_publish_waits_for_a_service_that_is_not_there_yet(start_service: StartService) -> None:
    port = free_port()
    publishing = asyncio.to_thread(command, "publish", "shop", "Noted", "1", url=f"http://127.0.0.1:{port}")
    waiting = asyncio.create_task(publishing)
    await asyncio.sleep(0)
    service = await start_service(port=port)
    assert (await waiting).returncode == Exit.DONE
    assert len(await exported(service.url)) == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("publish", "shop", "Noted", "{"), Exit.USAGE),
        (("publish", "shop", "Noted", "1", "--after", "1"), Exit.USAGE),
        (("publish", "shop", "Noted", "1", "--meta", "x"), Exit.USAGE),
        (("publish", "a b", "Noted", "1"), Exit.FAILED),
        (("publish", "shop", "Noted", "hello"), Exit.USAGE),
        (("publish", "shop", "Noted", "\ufeff1"), Exit.USAGE),
        (("publish", "shop", "Noted", "@no-file"), Exit.USAGE),
        (("import", "no-file"), Exit.USAGE),
        (("read", "--limit", "0"), Exit.USAGE),
        (("read", "--meta", "tenant"), Exit.USAGE),
        (("read", "1:14"), Exit.USAGE),
        (("read", "1", "--newest"), Exit.USAGE),
        (("read", "--url", "127.0.0.1:8000"), Exit.USAGE),
        (("read", "--url", "http://127.0.0.1:8000/v1"), Exit.USAGE),
        (("read", "--url", "http://user:pa55word@127.0.0.1:8000"), Exit.USAGE),
        (("tail", "--cursor-file", "LICENSE"), Exit.USAGE),
        (("read", "999999999"), Exit.FAILED),
        (("read", "--query", "{"), Exit.FAILED),
        (("tail", "--after", "999999999"), Exit.CONFLICT),
        (("export", "--after", "9:9"), Exit.CONFLICT),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value.name,
)
def test_a_command_ends_with_the_code_of_what_was_wrong(
    service: ServiceProcess, arguments: tuple[str, ...], code: Exit
) -> None:
    done = command(*arguments, url=service.url)
    assert (done.returncode, done.stdout) == (code, b"")
    assert done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("read",), ("publish", "a", "b", "1", "--give-up-seconds", "0")], ids=" ".join)
def test_a_service_that_cannot_be_reached_has_a_code_of_its_own(arguments: tuple[str, ...]) -> None:
    done = command(*arguments, url=f"http://127.0.0.1:{free_port()}")
    assert done.returncode == Exit.UNREACHABLE


async def test_read_goes_over_pages_in_both_directions(start_service: StartService) -> None:
    service = await start_service(page_facts_max=7)
    await publish(service, *new_facts(20))
    read = lines((await run(service, "read", "--limit", "18")).stdout)
    assert [fact["position"] for fact in read] == list(range(1, 19))
    newest = lines((await run(service, "read", "--newest")).stdout)
    assert [fact["position"] for fact in newest] == list(range(20, 0, -1))


async def test_tail_goes_on_from_its_file_without_a_gap(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service()
    file = tmp_path / "cursor"
    arguments = ("tail", "--after", "start", "--namespace", "shop", "--cursor-file", str(file), "--until-caught-up")
    await publish(service, *(new_fact(namespace="shop") for _ in range(30)))
    first = lines((await run(service, *arguments)).stdout)
    await publish(service, new_fact(namespace="other"), new_fact(namespace="shop"), new_fact(namespace="shop"))
    second = lines((await run(service, *arguments)).stdout)
    assert [fact["position"] for fact in first + second] == [*range(1, 31), 32, 33]
    assert file.read_text() == "1:33\n"
    assert (await run(service, *arguments)).stdout == b""


async def test_a_tail_that_waits_has_saved_its_cursor_and_ends_at_a_signal(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await start_service()
    await publish(service, *new_facts(3))
    file = tmp_path / "cursor"
    tailing = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-m", "factwire", "tail", "--after", "start", "--cursor-file", str(file)],
        cwd=ROOT,
        env=clean_environment() | {"FACTWIRE_URL": service.url},
        stdout=subprocess.DEVNULL,
    )
    async with asyncio.timeout(30):
        while not file.exists() or file.read_text() != "1:3\n":
            assert tailing.poll() is None
            await asyncio.sleep(0.05)
    tailing.terminate()
    assert await asyncio.to_thread(tailing.wait, 20) == 128 + signal.SIGTERM
    assert file.read_text() == "1:3\n"


async def test_a_tail_that_can_no_longer_save_its_cursor_ends(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service(heartbeat_seconds=3)
    folder = tmp_path / "kept"
    folder.mkdir()
    await publish(service, new_fact())
    tailing = asyncio.create_task(run(service, "tail", "--after", "start", "--cursor-file", str(folder / "cursor")))
    async with asyncio.timeout(30):
        while not (folder / "cursor").exists():
            await asyncio.sleep(0.05)
    shutil.rmtree(folder)
    await publish(service, new_fact())
    done = await tailing
    assert done.returncode == Exit.FAILED
    assert b"kept" in done.stderr
    assert b"Traceback" not in done.stderr
    nowhere = await run(service, "tail", "--cursor-file", str(folder / "cursor"))
    assert nowhere.returncode == Exit.USAGE


async def test_a_killed_tail_loses_nothing(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service()
    file = tmp_path / "cursor"
    await publish(service, *new_facts(50))
    seen: list[int] = []
    for _ in range(3):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "factwire", "tail", "--after", "start", "--cursor-file", str(file)),
            cwd=ROOT,
            env=clean_environment() | {"FACTWIRE_URL": service.url},
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        await publish(service, new_fact())
        wanted = len(await exported(service.url))
        while not seen or seen[-1] < wanted:
            seen.append(json.loads(await asyncio.wait_for(process.stdout.readline(), 20))["position"])
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert sorted(set(seen)) == list(range(1, 54))
    assert all(after <= before + 1 for before, after in pairwise(seen))


async def test_an_export_that_is_cut_goes_on_and_is_whole(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service()
    for _ in range(6):
        await publish(service, *new_facts(500))
    expected = await exported(service.url)
    async with proxied(Proxy(service.port, cuts_after_bytes=25_000)) as url:
        for name, arguments in (("facts.ndjson.gz", ()), ("events.ndjson", ("--format", "cloudevents"))):
            file = tmp_path / name
            done = await asyncio.to_thread(command, "export", "--output", str(file), *arguments, url=url)
            assert done.returncode == Exit.DONE, done.stderr
            assert done.stderr.count(b"continuing after position") > 1
            content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            assert [fact["id"] for fact in lines(content)] == [fact["id"] for fact in expected]
    assert [name for name in os.listdir(tmp_path) if name.endswith(".part")] == []


async def test_what_was_exported_can_be_imported_elsewhere(start_service: StartService) -> None:
    service = await start_service()
    await publish(service, *new_facts(700))
    content = (await run(service, "export")).stdout
    again = await run(service, "import", "-", stdin=content)
    assert json.loads(again.stdout)["result"]["replayed"] == 700, again.stderr


async def test_bench_measures_in_its_namespace_only(start_service: StartService) -> None:
    service = await start_service()
    done = await run(service, "bench", "--publish-in", "scratch", "--seconds", "0.2", "--clients", "2")
    (measured,) = lines(done.stdout)
    assert done.returncode == Exit.DONE, done.stderr
    assert all(isinstance(value, int | float) and value > 0 for value in measured.values())
    assert {fact["namespace"] for fact in await exported(service.url)} == {"scratch"}


async def test_a_reader_that_leaves_is_no_error(start_service: StartService) -> None:
    service = await start_service()
    for _ in range(4):
        await publish(service, *new_facts(500))
    shell = f"{sys.executable} -m factwire export | head -n 1"
    environment = clean_environment() | {"FACTWIRE_URL": service.url}
    process = await asyncio.create_subprocess_shell(
        shell, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert len(lines(output)) == 1
    assert errors == b""


@pytest.mark.parametrize(("settings", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=["colours", "none"])
async def test_a_terminal_gets_a_line_to_read_that_it_does_not_obey(
    start_service: StartService, settings: dict[str, str], coloured: bool
) -> None:
    service = await start_service()
    await publish(service, new_fact(namespace="shop", payload="red\u009b31m\u202etxt", aggregate_ids=["order-1"]))
    environment = clean_environment() | {"FACTWIRE_URL": service.url, "TERM": "xterm-256color", **settings}
    shown = await asyncio.to_thread(on_terminal, [sys.executable, "-m", "factwire", "read"], environment)
    assert "order-1" in shown
    assert '"position"' not in shown
    assert "\\u009b31m\\u202etxt" in shown
    assert "\u009b" not in shown
    assert ("\x1b[36m" in shown) == coloured


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
async def test_facts_are_utf_8_to_programs_whatever_the_locale(start_service: StartService, encoding: str) -> None:
    service = await start_service()
    await publish(service, new_fact(namespace="shop", type="Noted", payload="Zo\u00eb \u2026 \U0001f600"))
    for arguments in (("read",), ("read", "1"), ("tail", "--after", "start", "--until-caught-up"), ("export",)):
        done = await asyncio.to_thread(command, *arguments, url=service.url, encoding=encoding)
        assert done.returncode == Exit.DONE, done.stderr
        assert '"Zo\u00eb \u2026 \U0001f600"'.encode() in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_help_and_complaints_are_written_whatever_the_locale(encoding: str) -> None:
    shown = command("tail", "--help", url="", encoding=encoding)
    assert (shown.returncode, shown.stderr) == (Exit.DONE, b"")
    assert '{"items": [\u2026]}'.encode() in shown.stdout
    refused = command("read", "--url", "\u2026", url="", encoding=encoding)
    assert refused.returncode == Exit.USAGE
    assert "not \u2026".encode() in refused.stderr


async def test_a_terminal_that_lacks_a_character_gets_its_escape(start_service: StartService) -> None:
    service = await start_service()
    await publish(service, new_fact(namespace="shop", payload="Zo\u00eb \u2026"))
    environment = clean_environment() | {"FACTWIRE_URL": service.url, "PYTHONIOENCODING": "ascii"}
    shown = await asyncio.to_thread(on_terminal, [sys.executable, "-m", "factwire", "read"], environment)
    assert "Zo\\xeb \\u2026" in shown


def on_terminal(arguments: list[str], environment: dict[str, str]) -> str:
    """What a command shows on a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65_536):
            shown += piece
    except OSError:  # Linux says so when the other side is closed
        pass
    finally:
        os.close(ours)
        process.wait(timeout=20)
    return shown.decode()


def every_command() -> list[tuple[str, Callable[[], str]]]:
    """The name of each command that people use, and its help."""
    found = []
    waiting = [("factwire", new_parser())]
    while waiting:
        name, parser = waiting.pop()
        children = [
            (f"{name} {child}", sub)
            for action in parser._actions
            if isinstance(action.choices, dict)
            for child, sub in action.choices.items()
            if child != "serve-worker"
        ]
        waiting += children
        if not children:
            found.append((name, parser.format_help))
    return sorted(found)


@pytest.mark.parametrize(("name", "help_of"), every_command(), ids=[name for name, _ in every_command()])
def test_the_help_of_a_command_has_an_example_of_it(name: str, help_of: Callable[[], str]) -> None:
    assert name in help_of().partition("\nexample:\n")[2]


@pytest.mark.parametrize(("name", "help_of"), every_command(), ids=[name for name, _ in every_command()])
def test_each_command_is_documented(name: str, help_of: Callable[[], str]) -> None:
    assert f"`{name}" in (ROOT / "docs" / "cli.md").read_text()


def test_every_exit_code_is_documented() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    assert [code for code in Exit if f"| {code.value} |" not in page] == []


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    script = command("completion", "bash", url="http://127.0.0.1:1").stdout
    (tmp_path / "completion").write_bytes(script)
    asked = """
source completion
COMP_WORDS=(factwire pub); COMP_CWORD=1; _shtab_factwire; echo "${COMPREPLY[@]}"
COMP_WORDS=(factwire tail --cur); COMP_CWORD=2; _shtab_factwire; echo "${COMPREPLY[@]}"
"""
    done = subprocess.run(["bash", "-c", asked], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout.split() == ["publish", "--cursor-file"], done.stderr
