"""Keys from their making to their end, by command and by HTTP."""

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import httpx
import pytest

from factwire.auth.authenticator import Authentication
from factwire.auth.key_format import KEY_CHARACTERS, checksum
from factwire.domain.errors import Unauthenticated
from tests.access.keys import EVERYTHING_GRANTED, known, make_key, new_client, new_grants
from tests.conftest import StartService
from tests.support.builders import new_fact, publication
from tests.support.postgres import run_sql
from tests.support.service import ROOT, ServiceProcess, clean_environment, settings_of

COMMAND_SECONDS = 60


def run(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "factwire", *arguments],
        cwd=ROOT,
        env=clean_environment() | settings_of(**settings) | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


def keys_command(database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("keys", *arguments, database_url=database_url)


def made_by_command(database_url: str, name: str, *grants: str) -> str:
    done = keys_command(database_url, "create", name, *grants)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def status(service: ServiceProcess, secret: str) -> int:
    async with new_client(service.url, secret) as client:
        return (await client.get("/v1/facts")).status_code


async def becomes(service: ServiceProcess, secret: str, expected: int) -> None:
    async with asyncio.timeout(15):
        while await status(service, secret) != expected:
            await asyncio.sleep(0.05)


def test_the_first_key_can_be_made_in_a_database_without_a_log(fresh_database_url: str) -> None:
    run_sql(fresh_database_url, "drop schema factwire cascade")
    secret = made_by_command(fresh_database_url, "root", "--manage=*")
    assert len(secret) == KEY_CHARACTERS
    assert secret.startswith("fw_")
    assert secret.endswith(checksum(secret[:-6]))
    [key] = [json.loads(line) for line in keys_command(fresh_database_url, "list", "--json").stdout.splitlines()]
    assert (key["name"], key["grants"]) == ("root", {"manage": {"include": ["*"], "exclude": []}})


def test_the_database_keeps_no_secret(fresh_database_url: str) -> None:
    secret = made_by_command(fresh_database_url, "root", "--read=*")
    rows = [
        row
        for statement in (
            "select t::text from factwire.keys t where $1",
            "select t::text from factwire.key_secrets t where $1",
            "select t::text from factwire.facts t where $1",
        )
        for row in run_sql(fresh_database_url, statement, True)
    ]
    assert len(rows) == 3
    for row in rows:
        assert secret not in row[0]
        assert secret.encode().hex() not in row[0]


async def test_a_key_lives_by_command(start_service: StartService) -> None:
    service = await start_service(auth="keys")
    url = service.database_url
    secret = await asyncio.to_thread(made_by_command, url, "shop", "--publish=shop,shop.*,!shop.secret", "--read=shop")
    await becomes(service, secret, 200)
    async with new_client(service.url, secret) as client:
        for namespace, expected in (("shop", 201), ("shop.a", 201), ("shop.secret", 403), ("other", 403)):
            response = await client.post("/v1/facts", json=publication(new_fact(namespace=namespace)))
            assert response.status_code == expected
    id = secret.split("_")[1]
    listed = (await asyncio.to_thread(keys_command, url, "list")).stdout
    assert listed.startswith(f"{id}  live  shop  publish=shop,shop.*,!shop.secret read=shop")
    rotated = await asyncio.to_thread(keys_command, url, "rotate", id, "--grace-seconds=0")
    await becomes(service, rotated.stdout.strip(), 200)
    assert await status(service, secret) == 401
    assert (await asyncio.to_thread(keys_command, url, "revoke", id)).returncode == 0
    await becomes(service, rotated.stdout.strip(), 401)
    assert "  revoked  shop" in (await asyncio.to_thread(keys_command, url, "list")).stdout
    unknown = await asyncio.to_thread(keys_command, url, "revoke", "nobody")
    assert (unknown.returncode, unknown.stderr) == (1, "factwire: There is no key with this id.\n")


@pytest.fixture
async def managed(start_service: StartService) -> ServiceProcess:
    return await start_service(auth="keys")


async def manager_of(service: ServiceProcess) -> httpx.AsyncClient:
    made = await make_key(service.database_url, EVERYTHING_GRANTED)
    await known(service.url, made.secret)
    return new_client(service.url, made.secret)


async def test_a_key_lives_by_http(managed: ServiceProcess) -> None:
    grants = {"publish": {"include": ["shop"]}, "read": {"include": ["shop"]}}
    async with await manager_of(managed) as client:
        created = await client.post("/v1/keys", json={"name": "shop", "grants": grants})
        assert created.status_code == 201
        assert created.headers["cache-control"] == "no-store"
        key = created.json()
        secret = key.pop("secret")
        assert await status(managed, secret) == 200, "a key holds at once where it was made"
        assert key["grants"] == grants
        assert (await client.get(f"/v1/keys/{key['id']}")).json() == key
        assert key in (await client.get("/v1/keys")).json()["keys"]

        rotated = (await client.post(f"/v1/keys/{key['id']}/rotate", json={})).json()["secret"]
        assert [await status(managed, each) for each in (secret, rotated)] == [200, 200]
        last = (await client.post(f"/v1/keys/{key['id']}/rotate", json={"grace_seconds": 0})).json()["secret"]
        assert [await status(managed, each) for each in (secret, rotated, last)] == [401, 401, 200]

        revoked = (await client.delete(f"/v1/keys/{key['id']}")).json()
        assert revoked["revoked_at"] is not None
        assert await status(managed, last) == 401
        assert (await client.delete(f"/v1/keys/{key['id']}")).json() == revoked
        assert (await client.post(f"/v1/keys/{key['id']}/rotate", json={})).status_code == 404


async def test_its_last_use_is_noted_and_its_end_is_kept(managed: ServiceProcess) -> None:
    async with await manager_of(managed) as client:
        ends = "2100-01-01T00:00:00.000000Z"
        body = {"name": "n", "grants": {}, "expires_at": ends}
        assert (await client.post("/v1/keys", json=body)).json()["expires_at"] == ends
        past = await client.post("/v1/keys", json=body | {"expires_at": "2020-01-01T00:00:00Z"})
        assert past.status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "grants": {}},
        {"name": "x" * 101, "grants": {}},
        {"name": "line\nbreak", "grants": {}},
        {"name": "n"},
        {"name": "n", "grants": {"read": {"include": ["a*"]}}},
        {"name": "n", "grants": {"read": {"include": ["*.a"]}}},
        {"name": "n", "grants": {"read": {"include": ["a\x00"]}}},
        {"name": "n", "grants": {"read": {"include": ["a" * 201]}}},
        {"name": "n", "grants": {"read": {"include": [f"a{number}" for number in range(101)]}}},
        {"name": "n", "grants": {"write": {"include": ["a"]}}},
        {"name": "n", "grants": {}, "expires_at": "soon"},
    ],
)
async def test_a_key_that_cannot_be_made_is_refused(manager: httpx.AsyncClient, body: dict[str, Any]) -> None:
    response = await manager.post("/v1/keys", json=body)
    assert response.status_code == 422, response.text
    assert response.json()["errors"]


@pytest.mark.parametrize(
    "grants",
    [
        {"read": {"include": ["*"]}},
        {"read": {"include": ["shop"]}},
        {"read": {"include": ["loans.*"]}},
        {"publish": {"include": ["loans"]}},
        {"manage": {"include": ["*"]}},
    ],
)
async def test_nobody_gives_more_than_he_has(managed: ServiceProcess, grants: dict[str, Any]) -> None:
    own = new_grants(read=(["loans", "loans.*"], ["loans.secret"]), manage=(["factwire"], []))
    made = await make_key(managed.database_url, own)
    rich = await make_key(managed.database_url, EVERYTHING_GRANTED)
    await known(managed.url, made.secret, rich.secret)
    async with new_client(managed.url, made.secret) as client:
        assert (await client.post("/v1/keys", json={"name": "n", "grants": grants})).status_code == 403
        assert (await client.post(f"/v1/keys/{rich.key.id}/rotate", json={})).status_code == 403
        lesser = {"read": {"include": ["loans.*"], "exclude": ["loans.secret"]}, "manage": {"include": ["factwire"]}}
        assert (await client.post("/v1/keys", json={"name": "n", "grants": lesser})).status_code == 201
    assert await status(managed, rich.secret) == 200


async def test_keys_are_not_managed_where_nobody_asks_for_them(client: httpx.AsyncClient) -> None:
    """Whoever reaches an open service could leave a key behind for the time when it is closed."""
    response = await client.post("/v1/keys", json={"name": "n", "grants": {"read": {"include": ["*"]}}})
    assert response.status_code == 403


async def test_the_database_itself_keeps_keys_as_they_are(fresh_database_url: str) -> None:
    await make_key(fresh_database_url, EVERYTHING_GRANTED)
    for statement in (
        "delete from factwire.keys",
        "truncate factwire.keys cascade",
        "update factwire.keys set grants = '{}'",
        "update factwire.keys set expires_at = now() + interval '1 day'",
        "update factwire.keys set revoked_at = now(); update factwire.keys set revoked_at = null",
    ):
        with pytest.raises(Exception, match=r"is refused|cannot be changed"):
            await asyncio.to_thread(run_sql, fresh_database_url, statement)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"host": "0.0.0.0"}, "FACTWIRE_AUTH is not set: the service then listens on loopback addresses only"),
        ({"host": "::"}, "FACTWIRE_AUTH"),
        ({"auth": "none,keys"}, "FACTWIRE_AUTH: "),
        ({"auth": "key"}, "FACTWIRE_AUTH: "),
    ],
)
def test_the_service_does_not_start_open_unless_it_is_told_to(settings: dict[str, object], complaint: str) -> None:
    done = run("serve", database_url="postgresql://localhost:1/none", port=0, **settings)
    assert done.returncode == 2
    assert done.stderr.startswith(complaint)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("settings", [{"auth": "none"}, {"auth": "keys"}])
async def test_it_listens_on_other_addresses_when_it_is_told_how(
    start_service: StartService, settings: dict[str, object]
) -> None:
    service = await start_service(host="0.0.0.0", **settings)
    async with new_client(service.url) as client:
        expected = 200 if settings["auth"] == "none" else 401
        assert (await client.get("/v1/facts")).status_code == expected


async def test_the_command_line_comes_with_a_key(managed: ServiceProcess, tmp_path: Any) -> None:
    made = await make_key(managed.database_url, EVERYTHING_GRANTED)
    await known(managed.url, made.secret)
    file = tmp_path / "facts.ndjson"
    file.write_text(json.dumps(new_fact()) + "\n")
    without = await asyncio.to_thread(run, "import", str(file), url=managed.url)
    assert (without.returncode, "unauthenticated" in without.stderr) == (1, True)
    done = await asyncio.to_thread(run, "import", str(file), url=managed.url, key=made.secret)
    assert (done.returncode, json.loads(done.stdout)["result"]["published"]) == (0, 1)
    doctor = await asyncio.to_thread(run, "doctor", "--json", url=managed.url, database_url=managed.database_url)
    access = [each for each in json.loads(doctor.stdout)["findings"] if each["check"] == "access"]
    assert [each["verdict"] for each in access] == ["wrong"]


def test_a_mode_without_anybody_who_knows_its_credentials_lets_nobody_in() -> None:
    access = Authentication({}, is_open=False)
    assert access.known(b"Bearer x.y.z") is None
    with pytest.raises(Unauthenticated):
        asyncio.run(access.verify(b"Bearer x.y.z"))
