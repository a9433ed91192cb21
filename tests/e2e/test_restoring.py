"""Erasures outlive a restored backup, and the commands around them do what they say."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from factwire.store.encryption.keys import new_master_key
from tests.conftest import StartService
from tests.e2e.erasure import ERASED, SECRET, a_secret_fact, erase, lines, opened, publish
from tests.support.builders import new_fact, publication
from tests.support.postgres import Databases, name_of, run_sql
from tests.support.service import ROOT, clean_environment

KEY = new_master_key()


def factwire(
    *arguments: str, database_url: str = "", standard_input: str = "", **settings: str
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    environment = {f"FACTWIRE_{name.upper()}": value for name, value in settings.items()}
    if database_url:
        environment["FACTWIRE_DATABASE_URL"] = database_url
    done = subprocess.run(
        [sys.executable, "-m", "factwire", *arguments],
        cwd=ROOT,
        env=clean_environment() | environment,
        input=standard_input,
        capture_output=True,
        text=True,
        timeout=50,
    )
    return done.returncode, done.stdout, done.stderr


@asynccontextmanager
async def backup_of(databases: Databases, url: str) -> AsyncIterator[str]:
    """A copy of a database that nobody uses at the moment: what a restored backup of that moment is."""
    name = f"{databases.prefix}_backup_{uuid4().hex[:8]}"
    await asyncio.to_thread(run_sql, databases.server_url, f'create database "{name}" template "{name_of(url)}"')
    try:
        yield databases.url(name)
    finally:
        await asyncio.to_thread(databases.drop, databases.url(name))


async def by_id(client: httpx.AsyncClient) -> dict[str, Any]:
    return {fact["id"]: fact for fact in (await client.get("/v1/facts")).json()["facts"]}


async def test_erasures_are_applied_again_after_an_older_backup_is_restored(
    databases: Databases, start_service: StartService, fresh_database_url: str
) -> None:
    kept, gone, later = a_secret_fact("kept"), a_secret_fact("gone"), a_secret_fact("later")
    redacted = new_fact(payload={"name": SECRET})
    first = await start_service(master_key=KEY)
    async with opened(first.url) as client:
        await publish(client, kept, gone, redacted)
    await first.terminate()
    async with backup_of(databases, fresh_database_url) as restored:
        second = await start_service(master_key=KEY)
        async with opened(second.url) as client:
            await publish(client, later)
            await erase(client, "gone")
            await erase(client, "later")
            await client.post(f"/v1/facts/{redacted['id']}/redaction", json={"reason": "by mistake"})
        code, exported, _ = await asyncio.to_thread(factwire, "erasures", "export", database_url=fresh_database_url)
        assert (code, len(lines(exported))) == (0, 3)

        third = await start_service(database_url=restored, master_key=KEY)
        async with opened(third.url) as client:
            before = await by_id(client)
            assert before[gone["id"]]["payload"] == gone["payload"]
            await apply(restored, exported, expected={"applied": 3, "known": 0, "unknown": 0, "ignored": 0})
            await apply(restored, exported, expected={"applied": 0, "known": 3, "unknown": 0, "ignored": 0})
            after = await by_id(client)
            assert after[gone["id"]] == before[gone["id"]] | ERASED
            assert after[redacted["id"]] == before[redacted["id"]] | {"payload": None, "redacted": True}
            assert after[kept["id"]] == before[kept["id"]]
            # It came after the backup: it must not come into being again.
            assert (await client.post("/v1/facts", json=publication(later))).status_code == 409
        await third.terminate()
        code, told, _ = await asyncio.to_thread(factwire, "verify", database_url=restored, master_key=KEY)
        assert code == 0, told


async def apply(url: str, exported: str, *, expected: dict[str, int]) -> None:
    code, told, problem = await asyncio.to_thread(
        factwire, "erasures", "apply", "-", database_url=url, standard_input=exported
    )
    assert (code, json.loads(told)) == (0, expected), problem


async def test_verify_says_what_it_found_by_its_exit_code(start_service: StartService, fresh_database_url: str) -> None:
    service = await start_service()
    async with opened(service.url) as client:
        await publish(client, new_fact(payload={"total": 1}), new_fact())
        await publish(client, new_fact())
    run = asyncio.to_thread
    code, told, _ = await run(factwire, "verify", database_url=fresh_database_url)
    assert (code, told.splitlines()[0]) == (0, "3 facts from position 1 to 3: no flaws.")
    kept = next(line for line in told.splitlines() if line.startswith("--expect-hash")).split()
    code, told, _ = await run(factwire, "verify", *kept, database_url=fresh_database_url)
    assert code == 0, told
    await run(
        run_sql,
        fresh_database_url,
        """
        set session_replication_role = replica;
        update factwire.facts
           set document = convert_to(replace(convert_from(document, 'UTF8'), '"total":1', '"total":2'), 'UTF8')
         where position = 1
        """,
    )
    code, told, _ = await run(factwire, "verify", database_url=fresh_database_url)
    assert (code, told.splitlines()[0]) == (1, "position 1: the content is not that of its digest")
    code, told, _ = await run(factwire, "verify", "--from", "2", database_url=fresh_database_url)
    assert (code, told.splitlines()[0]) == (0, "2 facts from position 2 to 3: no flaws.")
    wrong = f"{kept[1].partition(':')[0]}:{'0' * 64}"
    code, told, _ = await run(
        factwire, "verify", "--from", "2", "--expect-hash", wrong, database_url=fresh_database_url
    )
    assert (code, told.splitlines()[0]) == (1, "position 3: the chain does not have the hash that was kept")


async def test_the_master_key_is_rotated_while_the_service_runs(
    start_service: StartService, fresh_database_url: str, tmp_path: Path
) -> None:
    run = asyncio.to_thread
    new = (await run(factwire, "master-key", "new"))[1].strip()
    file = tmp_path / "master-keys"
    file.write_text(f"{new}\n{KEY}\n")
    fact = a_secret_fact("customer-1")
    first = await start_service(master_key=KEY)
    second = await start_service(master_key_file=file)
    async with opened(first.url) as old_client, opened(second.url) as new_client:
        await publish(old_client, fact)
        assert (await new_client.get(f"/v1/facts/{fact['id']}")).json()["payload"] == fact["payload"]
        code, told, problem = await run(
            factwire, "master-key", "rotate", database_url=fresh_database_url, master_key_file=str(file)
        )
        assert (code, told.split()[0]) == (0, "1"), problem
        assert (await old_client.get(f"/v1/facts/{fact['id']}")).status_code == 503
    third = await start_service(master_key=new)
    async with opened(third.url) as client:
        assert (await client.get(f"/v1/facts/{fact['id']}")).json()["payload"] == fact["payload"]
        assert (await client.post("/v1/facts", json=publication(fact))).status_code == 200


async def test_a_wrong_master_key_is_refused_and_not_repeated(fresh_database_url: str, tmp_path: Path) -> None:
    run = asyncio.to_thread
    for settings in ({"master_key": "c2VjcmV0"}, {"master_key_file": str(tmp_path / "none")}):
        code, _, problem = await run(factwire, "serve", "--port", "0", database_url=fresh_database_url, **settings)
        assert code == 1
        assert "master key" in problem
        assert "c2VjcmV0" not in problem
    empty = tmp_path / "empty"
    empty.write_text("\n")
    code, _, problem = await run(
        factwire, "serve", database_url=fresh_database_url, master_key=KEY, master_key_file=str(empty)
    )
    assert (code, KEY in problem) == (2, False)
