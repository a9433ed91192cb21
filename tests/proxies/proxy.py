"""nginx and HAProxy as processes of their own, with the example configurations of deploy/."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tests.support.service import ROOT, clean_environment, free_port
from tests.support.waiting import until

PATH = f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin"  # where Debian keeps them, and users do not look
SERVICE = re.compile(r"127\.0\.0\.1:800(\d)")
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
STOP_SECONDS = 10

Changes = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Product:
    """A proxy, its example, and what has to differ from the example on a machine that runs tests."""

    name: str
    example: Path
    here: Callable[[Path, int], Changes]
    arguments: Callable[[Path], Sequence[str]]
    reload: signal.Signals


def nginx_here(directory: Path, port: int) -> Changes:
    temporary = "".join(f"    {name}_temp_path {directory}/{name};\n" for name in TEMPORARY)
    return {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/nginx/": f"{directory}/",
        "/run/nginx.pid": f"{directory}/pid",
        "/var/log/nginx/error.log": f"{directory}/log",
        "http {\n": f"http {{\n{temporary}",
        "worker_rlimit_nofile 65536;": "",
        "worker_connections 32768;": "worker_connections 2048;",
    }


def haproxy_here(directory: Path, port: int) -> Changes:
    return {
        "bind :443": f"bind 127.0.0.1:{port}",
        "/etc/haproxy/": f"{directory}/",
        "maxconn 20000": "maxconn 2000",
    }


NGINX = Product(
    name="nginx",
    example=ROOT / "deploy" / "nginx" / "nginx.conf",
    here=nginx_here,
    arguments=lambda file: ("-c", str(file), "-p", str(file.parent), "-e", "stderr", "-g", "daemon off;"),
    reload=signal.SIGHUP,
)
HAPROXY = Product(
    name="haproxy",
    example=ROOT / "deploy" / "haproxy" / "haproxy.cfg",
    here=haproxy_here,
    arguments=lambda file: ("-W", "-f", str(file)),
    reload=signal.SIGUSR2,
)
PRODUCTS = (NGINX, HAPROXY)


class Proxy:
    """One proxy in front of services. The directory holds its certificate, and takes whatever it writes."""

    def __init__(self, product: Product, directory: Path, ports: Sequence[int], changes: Changes) -> None:
        port = free_port()
        self.url = f"https://127.0.0.1:{port}"
        self._product = product
        self._log_path = directory / "output"
        configuration = directory / product.example.name
        text = before(product.example.read_text(), ports)
        configuration.write_text(changed(text, {**product.here(directory, port), **changes}))
        program = shutil.which(product.name, path=PATH)
        assert program is not None, f"{product.name} is not installed"
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [program, *product.arguments(configuration)],
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def ready(self) -> None:
        """Return once it passes requests on; raise with what it said if it does not."""
        async with httpx.AsyncClient(base_url=self.url, verify=False, timeout=5) as client:
            try:
                await until(lambda: self._passes_on(client), seconds=10)
            except TimeoutError:
                raise AssertionError(f"{self._product.name} is not ready: {self.log}") from None

    async def reload(self) -> None:
        """Have the configuration read again; return when the processes that read it are there."""
        old = self._workers()
        self._process.send_signal(self._product.reload)
        await until(lambda: self._has_workers_beyond(old))

    async def close(self) -> None:
        self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, STOP_SECONDS)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    def _workers(self) -> set[int]:
        return {child.pid for child in psutil.Process(self._process.pid).children()}

    async def _has_workers_beyond(self, old: set[int]) -> bool:
        return not self._workers() <= old

    async def _passes_on(self, client: httpx.AsyncClient) -> bool:
        assert self._process.poll() is None, f"{self._product.name} ended: {self.log}"
        try:
            return (await client.get("/livez")).is_success
        except httpx.TransportError:
            return False


def before(text: str, ports: Sequence[int]) -> str:
    """The example in front of these services, of which it names three."""
    lines = []
    for line in text.splitlines(keepends=True):
        place = SERVICE.search(line)
        if place is None:
            lines.append(line)
        elif int(place[1]) <= len(ports):
            lines.append(line.replace(place[0], f"127.0.0.1:{ports[int(place[1]) - 1]}"))
    assert all(f"127.0.0.1:{port}" in "".join(lines) for port in ports)
    return "".join(lines)


def changed(text: str, changes: Changes) -> str:
    for found, put in changes.items():
        assert found in text, f"the example does not say {found!r}"
        text = text.replace(found, put)
    return text
