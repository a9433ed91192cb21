"""Every block of code in the pages is run or checked somewhere: those that need what is arranged here, here."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import httpx
import msgspec
import pytest

from factwire.api.http.models import NewFactBody, Problem, PublishBody
from factwire.api.keys import GrantsBody
from factwire.auth.claims import by_value_from
from factwire.auth.key_file import read_keys
from factwire.settings import Settings
from tests.conftest import StartService
from tests.docs.shell import shell
from tests.docs.test_documents import DOCUMENTS, ROOT
from tests.support.builders import publication
from tests.support.postgres import run_sql, url_as
from tests.support.service import POLL_SECONDS, clean_environment, free_port

BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NO_CODE = {"", "text"}

# Where a block is run, by its page and how it begins; `test_blocks` is this module.
RUN_BY = {
    "README.md": {
        "make run": "test_blocks",
        "create role": "test_blocks",
        "export FACTWIRE_DATABASE_URL": "test_blocks",
        "FACTWIRE_AUTH=keys make run": "test_blocks",
        "KEY=": "test_blocks",
        "make check test": ".ci/run",
        "from factwire_client": "tests/docs/test_client_pages.py",
    },
    "deploy/README.md": {"kubectl": "tests/deploy"},
    "docs/access.md": {"{": "test_blocks", "factwire keys": "test_blocks", "[keys": "test_blocks"},
    "docs/access-tokens.md": {"export": "test_blocks", "async function": "tests/clients/test_access_in_a_browser.py"},
    "docs/cli.md": {"factwire publish": "test_blocks", "eval": "test_blocks"},
    "docs/conditions.md": {"{": "tests/docs/test_conditions_page.py"},
    "docs/erasure.md": {"{": "test_blocks", "factwire master-key": "test_blocks"},
    "docs/operations.md": {
        "docker": "tests/image",
        "grant": "tests/docs/test_least_rights.py",
        "revoke connect": "tests/docs/test_least_rights.py",
        "create role": "tests/docs/test_least_rights.py",
        "jq": "test_blocks",
        "factwire erasures": "test_blocks",
    },
    "docs/performance.md": {"make bench": "bench"},
    "docs/problems.md": {"{": "test_blocks"},
    "docs/protocol.md": {
        "curl": "test_blocks",
        "{": "tests/docs/test_documents.py",
        "function": "tests/clients/test_browser_snippet.py",
    },
    "docs/python.md": {"": "tests/docs/test_client_pages.py"},
    "docs/recipes/README.md": {"python": "tests/recipes"},
    "docs/sdks.md": {"": "tests/sdks"},
    "docs/typescript.md": {
        "<script": "tests/clients/typescript_client.py",
        "": "tests/clients/test_typescript_page.py",
    },
    "docs/subscriptions.md": {"{": "test_blocks"},
    "docs/testing.md": {
        "factwire serve": "tests/e2e/test_ephemeral.py",
        "{": "tests/e2e/test_ephemeral.py",
        "import sqlite3": "tests/docs/test_client_pages.py",
        "import { afterAll": "tests/clients/test_typescript_client.py",
    },
    "docs/tutorial.md": {"": "tests/docs/test_tutorial.py"},
}


def blocks() -> Iterator[tuple[str, str, str]]:
    for path in DOCUMENTS:
        for kind, text in BLOCK.findall(path.read_text()):
            yield path.relative_to(ROOT).as_posix(), kind, text


def block(page: str, beginning: str) -> str:
    [found] = [text for name, _, text in blocks() if name == page and text.startswith(beginning)]
    return found


def test_every_block_is_run_or_checked_somewhere() -> None:
    for page, kind, text in blocks():
        if kind not in NO_CODE and kind != "bash run":
            places = [place for beginning, place in RUN_BY.get(page, {}).items() if text.startswith(beginning)]
            assert places, f"nobody runs this block of {page}:\n{text}"
            assert places[0] == "test_blocks" or (ROOT / places[0]).exists(), places


@pytest.mark.parametrize(
    ("page", "type"),
    [
        ("docs/access.md", GrantsBody),
        ("docs/erasure.md", NewFactBody),
        ("docs/problems.md", Problem),
        ("docs/subscriptions.md", PublishBody),
    ],
)
def test_json_that_is_shown_is_what_it_is_called(page: str, type: type) -> None:
    msgspec.json.decode(block(page, "{"), type=type)


def test_the_file_of_keys_is_understood(tmp_path: Path) -> None:
    (tmp_path / "orders-key").write_text("0123456789abcdef0123456789abcdef")
    (tmp_path / "keys.toml").write_text(block("docs/access.md", "[keys"))
    names = {principal.name for principal in read_keys(tmp_path / "keys.toml").by_digest.values()}
    assert names == {"file-key:orders", "file-key:operations"}


def test_the_settings_for_issuers_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    exports = [text for page, _, text in blocks() if page == "docs/access-tokens.md" and text.startswith("export")]
    assert len(exports) == 4
    for text in exports:
        script = f"set -e\n{text}\n{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
        given = json.loads(shell(script, clean_environment(), ROOT))
        with monkeypatch.context() as patch:
            for name, value in given.items():
                if name.startswith("FACTWIRE_"):
                    patch.setenv(name, value)
            settings = Settings()  # type: ignore[call-arg]  # from the environment
        assert settings.jwt_grants_claim or by_value_from(settings.jwt_grants)


@pytest.fixture
def readme_url(database_url: str) -> Iterator[str]:
    """A database and its role, made as in the README."""
    name = f"readme_{uuid4().hex[:12]}"
    statements = block("README.md", "create role").replace("factwire", name).replace(" facts ", f" {name} ")
    try:
        for statement in statements.strip().splitlines():
            run_sql(database_url, statement)
    except asyncpg.InsufficientPrivilegeError:
        pytest.skip("the role of the tests may not create roles")
    yield urlunsplit(urlsplit(url_as(database_url, name, "secret"))._replace(path=f"/{name}"))
    run_sql(database_url, f"drop database {name} with (force)")
    run_sql(database_url, f"drop role {name}")


async def test_a_role_as_in_the_readme_is_enough_and_keys_are_made(
    start_service: StartService, readme_url: str, tmp_path: Path
) -> None:
    named, started = block("README.md", "export FACTWIRE_DATABASE_URL").splitlines()
    assert (named.split("=", 1)[0], started) == ("export FACTWIRE_DATABASE_URL", "make run")
    service = await start_service(auth="keys", database_url=readme_url)
    assert block("README.md", "FACTWIRE_AUTH=keys") == "FACTWIRE_AUTH=keys make run\n"
    making = block("README.md", "KEY=").replace("http://127.0.0.1:8000", service.url)
    making = making.replace(".venv/bin/", "").replace("sleep 2", "sleep 4").replace("curl", "curl -s --noproxy '*'")
    environment = clean_environment() | {"FACTWIRE_DATABASE_URL": readme_url}
    assert json.loads(shell(f"set -e\n{making}", environment, tmp_path))["facts"] == []
    await service.close()


async def test_keys_are_made_given_new_secrets_and_revoked(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service(auth="keys")
    environment = clean_environment() | {"FACTWIRE_DATABASE_URL": service.database_url}
    making, *using = re.split(
        r"^(?=factwire keys rotate)", block("docs/access.md", "factwire keys"), flags=re.MULTILINE
    )
    assert "loans, production" in shell(f"set -e\n{making}", environment, tmp_path)
    [id, _] = [line.split()[0] for line in shell("factwire keys list", environment, tmp_path).splitlines()[-2:]]
    shell(f"set -e\n{''.join(using)}".replace("4yTqW0ePzK3c", id), environment, tmp_path)
    assert re.search(rf"{id}\s+(revoked|ended)", shell("factwire keys list", environment, tmp_path))


async def test_the_commands_of_the_command_line_tell_what_became_of_them(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await start_service()
    environment = clean_environment() | {"FACTWIRE_URL": service.url}
    publish = block("docs/cli.md", "factwire publish")
    assert "it is paid" in shell(publish, environment, tmp_path)
    assert "it is paid" in shell(publish, environment, tmp_path)
    [evaluated, written] = block("docs/cli.md", "eval").splitlines()
    assert "_factwire" in shell(f"{evaluated}\ncomplete -p factwire", environment, tmp_path)
    assert "compdef" in shell(written.partition(" > ")[0], environment, tmp_path)


async def test_erasures_are_carried_to_a_file_and_applied_again(start_service: StartService, tmp_path: Path) -> None:
    made, served = block("docs/erasure.md", "factwire master-key").splitlines()
    key_file = tmp_path / "master-key"
    key_file.write_text(shell(made.partition("#")[0], clean_environment(), tmp_path))
    assert served.startswith("FACTWIRE_MASTER_KEY_FILE=")
    service = await start_service(master_key_file=key_file)
    fact = json.loads(block("docs/erasure.md", "{"))
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        assert (await client.post("/v1/facts", json={"facts": [fact]})).status_code == 201
        assert (await client.delete(f"/v1/data-subjects/{fact['data_subject']}")).status_code == 200
    environment = {"FACTWIRE_DATABASE_URL": service.database_url, "FACTWIRE_MASTER_KEY_FILE": str(key_file)}
    shell(f"set -e\n{block('docs/operations.md', 'factwire erasures')}", clean_environment() | environment, tmp_path)
    assert fact["data_subject"] in (tmp_path / "erasures.ndjson").read_text()


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not there")
async def test_answers_are_counted_from_the_log(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service(log_format="json", log_requests="true")
    async with httpx.AsyncClient(base_url=service.url, verify=False) as client:
        assert (await client.post("/v1/facts", json={})).status_code == 422
    counted = shell(block("docs/operations.md", "jq"), clean_environment(), tmp_path)
    assert counted.split() == ["1", "422"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not there")
@pytest.mark.timeout(170)
async def test_an_event_in_binary_mode_is_published(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service()
    command = block("docs/protocol.md", "curl").replace("http://127.0.0.1:8000", service.url)
    answer = json.loads(await asyncio.to_thread(shell, f"{command.strip()} -sS", clean_environment(), tmp_path))
    async with httpx.AsyncClient(base_url=service.url) as client:
        fact = (await client.get("/v1/facts/at/1")).json()
    assert (fact["id"], fact["aggregate_ids"]) == (answer["facts"][0]["id"], ["order-1"])
    assert fact["payload"] == {"total": 12.5}


async def test_one_command_starts_a_service_with_a_database_of_its_own(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"
    process = make_run({"FACTWIRE_PORT": str(port), "FACTWIRE_DATA_DIR": str(tmp_path / "data")}, tmp_path / "log")
    try:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            await ready(client, process)
            assert (await client.post("/v1/facts", json=publication())).status_code == 201
            assert (await client.get("/")).status_code == 200
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        await asyncio.to_thread(process.wait, 60)


def make_run(settings: dict[str, str], log_path: Path) -> subprocess.Popen[bytes]:
    command = block("README.md", "make run").split()
    with log_path.open("w") as log:
        return subprocess.Popen(
            command, cwd=ROOT, env=os.environ | settings, stdout=log, stderr=log, start_new_session=True
        )


async def ready(client: httpx.AsyncClient, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(120):
        while process.poll() is None:
            with suppress(httpx.TransportError):
                if (await client.get("/readyz")).is_success:
                    return
            await asyncio.sleep(POLL_SECONDS)
