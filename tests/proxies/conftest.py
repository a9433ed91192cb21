"""Proxies in front of services."""

import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import pytest

from tests.proxies.proxy import NGINX, PRODUCTS, Product, Proxy
from tests.support.service import ServiceProcess

CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
    "-addext subjectAltName=IP:127.0.0.1 -keyout facts.key -out facts.crt"
)

StartProxy = Callable[..., Awaitable[Proxy]]


@pytest.fixture(scope="session")
def certificate() -> Iterator[Path]:
    """A directory with a certificate of our own: the key alone, and both in one file."""
    with TemporaryDirectory(prefix="factwire-certificate-") as name:
        directory = Path(name)
        subprocess.run(CERTIFICATE.split(), cwd=directory, check=True, capture_output=True, timeout=30)
        both = (directory / "facts.crt").read_text() + (directory / "facts.key").read_text()
        (directory / "facts.pem").write_text(both)
        yield directory


@pytest.fixture(params=PRODUCTS, ids=lambda product: product.name)
def product(request: pytest.FixtureRequest) -> Product:
    chosen: Product = request.param
    return chosen


@pytest.fixture
async def start_proxy(product: Product, certificate: Path) -> AsyncIterator[StartProxy]:
    """Start the proxy in front of services, with its example or with changes to it: what it says, and what instead."""
    async with AsyncExitStack() as running:

        async def start(*services: ServiceProcess, changes: Mapping[str, str] | None = None) -> Proxy:
            directory = new_directory(certificate)
            running.callback(shutil.rmtree, directory)
            proxy = Proxy(product, directory, [service.port for service in services], changes or {})
            running.push_async_callback(proxy.close)
            await proxy.ready()
            return proxy

        yield start


def new_directory(certificate: Path) -> Path:
    """A directory with the certificate, open to the user as whom a proxy that was started by root works."""
    directory = Path(mkdtemp(prefix="factwire-proxy-"))
    directory.chmod(0o755)
    for name in ("facts.pem", "facts.key"):
        shutil.copy(certificate / name, directory)
    return directory


only_nginx = pytest.mark.parametrize("product", [NGINX], ids=["nginx"])
