"""TLS by the service itself: for programs that verify it, and with a certificate that is renewed."""

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.conftest import StartService
from tests.e2e.wire import streaming
from tests.support.builders import new_fact, publication
from tests.support.certificates import Pair, new_authority, new_certificate
from tests.support.service import ROOT, ServiceProcess, clean_environment
from tests.support.waiting import until

PASSWORD = "OPEN-SESAME"
LARGE = 900_000


@dataclass(frozen=True)
class Files:
    """What a service is given, and what its clients trust."""

    authority: Pair
    trusted: ssl.SSLContext
    certificate: Path
    key: Path

    @property
    def settings(self) -> dict[str, object]:
        return {"tls_certificate_file": self.certificate, "tls_key_file": self.key}

    def renew(self) -> int:
        """Write another certificate, and return its serial number."""
        pair = new_certificate(self.authority)
        pair.write_certificate(self.certificate)
        pair.write_key(self.key)
        return pair.certificate.serial_number


@pytest.fixture
def files(tmp_path: Path) -> Files:
    authority = new_authority()
    trusted = ssl.create_default_context(cafile=authority.write_certificate(tmp_path / "authority.pem"))
    made = Files(authority, trusted, tmp_path / "certificate.pem", tmp_path / "key.pem")
    made.renew()
    return made


@pytest.mark.parametrize("password", ["", PASSWORD])
async def test_facts_are_published_and_followed_over_tls(
    start_service: StartService, files: Files, password: str
) -> None:
    pair = new_certificate(files.authority)
    pair.write_certificate(files.certificate)
    pair.write_key(files.key, password=password)
    service = await start_service(**files.settings, tls_key_password=password or None)
    async with (
        httpx.AsyncClient(base_url=service.url, verify=files.trusted, timeout=30) as client,
        streaming(service.url) as stream,
    ):
        await stream.read_until(lambda body: b"caught-up" in body)
        for payload in ("small", "x" * LARGE, "small"):
            assert (await client.post("/v1/facts", json=publication(new_fact(payload=payload)))).status_code == 201
        await stream.read_until(lambda body: b"\nid: 1:3\n" in body and body.endswith(b"\n\n"))
        assert stream.positions() == [1, 2, 3]
        page = (await client.get("/v1/facts")).json()
        assert [len(fact["payload"]) for fact in page["facts"]] == [5, LARGE, 5]
    assert password not in service.log or not password
    assert f"https://127.0.0.1:{service.port}" in service.log


async def test_a_stream_whose_client_does_not_read_is_cut_over_tls_too(
    start_service: StartService, files: Files
) -> None:
    service = await start_service(**files.settings, stream_send_seconds=1)
    async with (
        httpx.AsyncClient(base_url=service.url, verify=files.trusted, timeout=30) as client,
        streaming(service.url) as stalled,
    ):
        await stalled.read_until(lambda body: b"caught-up" in body)
        stalled.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(12):
            (await client.post("/v1/facts", json=publication(new_fact(payload="x" * LARGE)))).raise_for_status()

        async def is_cut() -> bool:
            return 'factwire_streams_ended_total{reason="slow"} 1.0' in (await client.get("/metrics")).text

        await until(is_cut)


async def test_old_versions_of_tls_and_plain_http_are_refused(start_service: StartService, files: Files) -> None:
    service = await start_service(**files.settings)
    old = ssl.create_default_context(cafile=files.certificate.parent / "authority.pem")
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with httpx.AsyncClient(base_url=service.url, verify=old) as client:
        assert (await client.get("/livez")).is_success
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with httpx.AsyncClient(base_url=service.url, verify=old) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("/livez")
    async with httpx.AsyncClient(base_url=service.url.replace("https", "http")) as client:
        with pytest.raises(httpx.TransportError):
            await client.get("/livez")
    async with httpx.AsyncClient(base_url=service.url) as client:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get("/livez")


async def test_a_client_that_does_not_shake_hands_is_cut_off(start_service: StartService, files: Files) -> None:
    service = await start_service(**files.settings)
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_renewed_certificate_is_taken_at_sighup_and_a_wrong_one_is_not(
    start_service: StartService, files: Files, workers: int
) -> None:
    service = await start_service(**files.settings, workers=workers)

    async def have_all_begun() -> bool:
        return service.log.count("Application startup complete") == workers

    await until(have_all_begun)  # one that begins later begins with what the files hold by then
    async with httpx.AsyncClient(base_url=service.url, verify=files.trusted, timeout=30) as client:
        assert (await client.get("/livez")).is_success  # this connection stays
        renewed = files.renew()
        assert await serial_number(service, files) != renewed
        os.kill(service.pid, signal.SIGHUP)

        async def is_taken() -> bool:
            return [await serial_number(service, files) for _ in range(8)] == [renewed] * 8

        await until(is_taken)
        new_certificate(new_authority("others")).write_key(files.key)
        os.kill(service.pid, signal.SIGHUP)

        async def is_refused() -> bool:
            return service.log.count("the certificate could not be reloaded") == workers

        await until(is_refused)
        assert await is_taken()
        assert (await client.get("/livez")).is_success
    assert await service.terminate() == 0


async def serial_number(service: ServiceProcess, files: Files) -> int:
    return await asyncio.to_thread(shown_serial_number, service.port, files.trusted)


def shown_serial_number(port: int, trusted: ssl.SSLContext) -> int:
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        trusted.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        shown = secured.getpeercert()
        assert shown is not None
        return int(str(shown["serialNumber"]), 16)


def test_a_certificate_that_cannot_be_used_is_refused_at_the_start(files: Files, tmp_path: Path) -> None:
    foreign = new_certificate(new_authority("others")).write_key(tmp_path / "foreign.pem")
    locked = new_certificate(files.authority).write_key(tmp_path / "locked.pem", password=PASSWORD)
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    for certificate, key, password, told in (
        (files.certificate, foreign, "", "the key does not belong to the certificate"),
        (files.certificate, locked, "WRONG", "FACTWIRE_TLS_KEY_PASSWORD does not open the key"),
        (files.certificate, locked, "", "FACTWIRE_TLS_KEY_PASSWORD does not open the key"),
        (nonsense, files.key, "", "no certificate"),
        (files.certificate, nonsense, "", "no certificate"),
        (tmp_path / "missing.pem", files.key, "", "FACTWIRE_TLS_CERTIFICATE_FILE: "),
        (files.certificate, tmp_path / "missing.pem", "", "FACTWIRE_TLS_KEY_FILE: "),
        (files.certificate, None, "", "no certificate"),
    ):
        settings = {"FACTWIRE_TLS_CERTIFICATE_FILE": str(certificate)}
        if password:
            settings["FACTWIRE_TLS_KEY_PASSWORD"] = password
        settings |= {"FACTWIRE_TLS_KEY_FILE": str(key)} if key else {}
        done = subprocess.run(
            [sys.executable, "-m", "factwire", "serve"],
            cwd=ROOT,
            env=clean_environment() | settings | {"FACTWIRE_DATABASE_URL": "postgresql://localhost:1/none"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert told in done.stderr
        assert "WRONG" not in done.stderr
        assert "Traceback" not in done.stderr
