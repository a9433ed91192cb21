"""The connection to PostgreSQL over TLS: verified as the URL says, against a server that takes no other one.

The embedded PostgreSQL is built without TLS. This needs one of the system, as packages of PostgreSQL bring it.
"""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import asyncpg
import httpx
import pytest

from tests.conftest import StartService
from tests.support.builders import publication
from tests.support.certificates import new_authority, new_certificate
from tests.support.service import ROOT, clean_environment, free_port
from tests.support.waiting import until

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
CONFIGURATION = "ssl = on\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n"
ONLY_TLS = "hostssl all all 127.0.0.1/32 trust\n"

pytestmark = pytest.mark.skipif(not BINARIES, reason="needs a PostgreSQL of the system: apt-get install postgresql")


@dataclass(frozen=True)
class Server:
    port: int
    directory: Path

    def url(self, *, host: str = "127.0.0.1", mode: str = "verify-full", authority: str = "authority") -> str:
        ca = self.directory / f"{authority}.pem"
        return f"postgresql://postgres@{host}:{self.port}/postgres?sslmode={mode}&sslrootcert={ca}"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    directory = Path(mkdtemp(prefix="factwire-tls-"))
    authority = new_authority()
    pair = new_certificate(authority, name="not-this-name")
    authority.write_certificate(directory / "authority.pem")
    new_authority("others").write_certificate(directory / "others.pem")
    owner = pwd.getpwnam("postgres") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    directory.chmod(0o755)
    files = directory / "log"
    files.mkdir(mode=0o700)
    os.chown(files, owner.pw_uid, owner.pw_gid)
    run(owner, "initdb", "--pgdata", str(files), "--auth", "trust", "--username", "postgres", "--no-sync")
    for path in (pair.write_certificate(files / "server.crt"), pair.write_key(files / "server.key")):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    with (files / "postgresql.conf").open("a") as configuration:
        configuration.write(CONFIGURATION)
    (files / "pg_hba.conf").write_text(ONLY_TLS)
    port = free_port()
    control = ("pg_ctl", "--pgdata", str(files), "--wait")
    run(owner, *control, "--log", str(files / "server.log"), "--options", f"-p {port}", "start")
    yield Server(port, directory)
    run(owner, *control, "--mode", "immediate", "stop")
    shutil.rmtree(directory)


def run(owner: pwd.struct_passwd, command: str, *arguments: str) -> None:
    as_owner = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    subprocess.run(
        [str(BINARIES[-1] / command), *arguments],
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=True,
        **as_owner,  # type: ignore[call-overload]
    )


async def says_reachable(client: httpx.AsyncClient) -> bool:
    return bool((await client.get("/readyz")).json()["database"] == "reachable")


async def test_facts_are_kept_over_a_verified_connection(server: Server, start_service: StartService) -> None:
    service = await start_service(database_url=server.url(), data_dir=None)
    async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
        assert (await client.post("/v1/facts", json=publication())).status_code == 201
        await until(lambda: says_reachable(client))
    connection = await asyncpg.connect(server.url())
    try:
        plain = await connection.fetchval(
            "select count(*) from pg_stat_ssl join pg_stat_activity using (pid)"
            " where application_name like 'factwire%' and not ssl"
        )
        secured = await connection.fetchval(
            "select count(*) from pg_stat_ssl join pg_stat_activity using (pid)"
            " where application_name like 'factwire%' and ssl"
        )
    finally:
        await connection.close()
    assert plain == 0
    assert secured >= 3
    assert "nobody verifies" not in service.log


@pytest.mark.parametrize(
    "wrong", [{"authority": "others"}, {"host": "localhost"}, {"authority": "missing"}, {"mode": "disable"}]
)
def test_a_server_that_is_not_the_right_one_is_refused(server: Server, wrong: dict[str, str]) -> None:
    """Signed by somebody else, of another name, with nothing to verify it by, and without TLS."""
    done = subprocess.run(
        [sys.executable, "-m", "factwire", "migrate"],
        cwd=ROOT,
        env=clean_environment() | {"FACTWIRE_DATABASE_URL": server.url(**wrong)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode != 0, done.stdout + done.stderr
