"""FACTWIRE_KEYS_FILE: keys of a file, which is read again when it changes."""

import asyncio
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from factwire.auth.key_file import KeyFileRefused, read_keys
from tests.access.keys import bearer, make_key, new_client, new_grants
from tests.conftest import StartService
from tests.support.builders import new_fact, publication
from tests.support.service import ROOT, clean_environment
from tests.support.waiting import until

SECRET = "a-secret-of-the-orders-team-0001"
OTHER = "a-secret-of-the-billing-team-0002"


def digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    (tmp_path / "billing").write_text(f"{OTHER}\n")
    path = tmp_path / "keys.toml"
    path.write_text(f"""
[keys.orders]
sha256 = "{digest(SECRET)}"
publish = ["shop"]
read = ["shop", "loans.*", "!loans.internal"]

[keys.billing]
secret_file = "billing"
manage = ["factwire"]
""")
    return path


async def status(client: httpx.AsyncClient, secret: str, path: str = "/v1/facts") -> int:
    return (await client.get(path, headers=bearer(secret))).status_code


async def test_keys_of_the_file_have_their_grants_beside_those_of_the_database(
    start_service: StartService, keys_file: Path
) -> None:
    service = await start_service(auth="keys", keys_file=keys_file)
    assert "2 keys were read" in service.log
    assert 'curl -N -H "authorization: Bearer $KEY"' in service.log
    assert "there is no valid key" not in service.log
    stored = (await make_key(service.database_url, new_grants(read=(["shop"], [])))).secret
    async with new_client(service.url) as client:
        body = publication(new_fact())
        assert (await client.post("/v1/facts", json=body, headers=bearer(SECRET))).status_code == 201
        elsewhere = publication(new_fact(namespace="loans.internal"))
        assert (await client.post("/v1/facts", json=elsewhere, headers=bearer(SECRET))).status_code == 403
        assert await status(client, OTHER, "/v1/keys") == 200
        assert await status(client, SECRET, "/v1/keys") == 403
        assert await status(client, "a-secret-of-nobody-000000000") == 401
        await until(lambda: is_known(client, stored))


async def is_known(client: httpx.AsyncClient, secret: str) -> bool:
    return await status(client, secret) == 200


async def test_a_changed_file_is_read_again_and_ends_streams_of_removed_keys(
    start_service: StartService, keys_file: Path
) -> None:
    service = await start_service(auth="keys", keys_file=keys_file)
    async with (
        new_client(service.url) as client,
        client.stream("GET", "/v1/stream?after=head", headers=bearer(SECRET), timeout=30) as stream,
    ):
        assert stream.status_code == 200
        replaced(keys_file, content(keys_file).replace(digest(SECRET), digest("another-secret-of-orders-03")))
        await until(lambda: is_known(client, "another-secret-of-orders-03"))
        assert await status(client, SECRET) == 401
        assert "unauthenticated" in "".join([line async for line in stream.aiter_lines()])
        secret = keys_file.with_name("billing")
        replaced(secret, "a-renewed-secret-of-billing-4")
        await until(lambda: is_known(client, "a-renewed-secret-of-billing-4"))
        assert await status(client, OTHER) == 401


async def test_a_faulty_file_is_told_and_the_previous_keys_stay(start_service: StartService, keys_file: Path) -> None:
    service = await start_service(auth="keys", keys_file=keys_file)
    good = content(keys_file)
    async with new_client(service.url) as client:
        replaced(keys_file, "[keys.orders]\n")
        await until(lambda: "orders: give either sha256 or secret_file; the previous keys stay in use" in service.log)
        assert await status(client, SECRET) == 200
        assert service.log.count("previous keys stay") == 1
        replaced(keys_file, good.replace('"billing"', '"renamed"'))
        await until(lambda: "renamed cannot be read" in service.log)
        replaced(keys_file.with_name("renamed"), "the-secret-arrives-later-05")  # the file of keys is as it was
        await until(lambda: is_known(client, "the-secret-arrives-later-05"))


def content(path: Path) -> str:
    return path.read_text()


def replaced(path: Path, text: str) -> None:
    """As mounted Secrets and careful programs do it: another file takes the name."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    os.replace(new, path)


async def test_a_key_ends_at_its_time(start_service: StartService, keys_file: Path) -> None:
    replaced(keys_file, f'[keys.old]\nsha256 = "{digest(SECRET)}"\nread = ["*"]\nexpires_at = 2026-01-01T00:00:00Z\n')
    service = await start_service(auth="keys", keys_file=keys_file)
    async with new_client(service.url) as client:
        assert await status(client, SECRET) == 401


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[keys", "Expected"),
        ("[key.orders]", r"expected tables \[keys.NAME\]"),
        ('[keys."a b"]', "other characters"),
        ("[keys.a]\nsha = 1", "sha is not one of expires_at, manage"),
        ("[keys.a]", "either sha256 or secret_file"),
        ('[keys.a]\nsha256 = "12"', "64 hexadecimal digits"),
        ('[keys.a]\nsecret_file = "none"', "none cannot be read: No such file"),
        ('[keys.a]\nsecret_file = "short"', "20 or more visible characters"),
        (f'[keys.a]\nsha256 = "{digest(SECRET)}"\nread = "shop"', "read is not a list"),
        (f'[keys.a]\nsha256 = "{digest(SECRET)}"\nread = ["shop*"]', "neither a namespace"),
        (f'[keys.a]\nsha256 = "{digest(SECRET)}"\nexpires_at = "2027"', "not a date and time"),
        (f'[keys.a]\nsha256 = "{digest(SECRET)}"\n[keys.b]\nsha256 = "{digest(SECRET)}"', "b has the secret of a"),
    ],
)
def test_a_file_that_cannot_be_used_names_the_key_and_the_fault(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "short").write_text("hunter2")
    (tmp_path / "keys.toml").write_text(content)
    with pytest.raises(KeyFileRefused, match=expected) as refused:
        read_keys(tmp_path / "keys.toml")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"FACTWIRE_KEYS_FILE": "/nowhere.toml", "FACTWIRE_AUTH": "keys"}, "FACTWIRE_KEYS_FILE: /nowhere.toml cannot"),
        ({"FACTWIRE_KEYS_FILE": "/nowhere.toml"}, "needs FACTWIRE_AUTH=keys"),
    ],
)
async def test_a_service_does_not_start_with_it(settings: dict[str, str], expected: str) -> None:
    command = [sys.executable, "-m", "factwire", "serve"]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=ROOT,
        env=clean_environment() | settings,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert expected in done.stderr
