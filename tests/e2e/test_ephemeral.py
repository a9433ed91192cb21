"""`factwire serve --ephemeral`: a log of its own for tests, which is gone at the end however the end comes."""

import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx
import psutil
import pytest

from tests.support.postgres import run_sql
from tests.support.service import ROOT, clean_environment

SERVE = (sys.executable, "-m", "factwire", "serve", "--ephemeral", "--announce", "json")
SECONDS = 30.0


@contextmanager
def served(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A service and its announcement."""
    process = started(*arguments, **environment)
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


def started(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*SERVE, *arguments],
        env=clean_environment() | {"PYTHONPATH": str(ROOT / "app")} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def directory_of(announced: dict[str, Any]) -> Path:
    """Data directory, which holds the socket."""
    return Path(parse_qs(urlsplit(announced["database_url"]).query)["host"][0])


def until(is_so: Any) -> None:
    give_up_at = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def test_a_log_is_new_and_gone_at_the_end() -> None:
    with served() as (first, announced), served() as (_, other):
        assert announced["pid"] == first.pid
        assert announced["url"] != other["url"]
        fact = {"namespace": "shop", "type": "OrderPlaced", "payload": {}}
        answer = httpx.post(f"{announced['url']}/v1/facts", json={"facts": [fact]})
        assert answer.json()["position"] == 1
        assert httpx.get(f"{other['url']}/v1/position").json()["position"] == 0
        first.terminate()
        assert first.wait(SECONDS) == 0
        assert not directory_of(announced).exists()
        assert directory_of(other).exists()
    assert not directory_of(other).exists()


def test_it_is_ready_when_it_is_announced_and_says_that_it_is_not_durable() -> None:
    with served() as (_, announced):
        assert httpx.get(f"{announced['url']}/readyz").status_code == 200
        environment = clean_environment() | {"FACTWIRE_DATABASE_URL": announced["database_url"]}
        command = [sys.executable, "-m", "factwire", "doctor", "--url", announced["url"]]
        doctor = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS)
        assert "fsync" in doctor.stdout


def test_it_never_joins_a_log_that_the_environment_names(tmp_path: Path) -> None:
    named = {
        "FACTWIRE_DATA_DIR": str(tmp_path / "data"),
        "FACTWIRE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    }
    with served(**named) as (_, announced):
        assert httpx.get(f"{announced['url']}/v1/position").json()["position"] == 0
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("suffix", [".ndjson", ".ndjson.gz"])
def test_it_begins_with_the_facts_of_a_file(tmp_path: Path, suffix: str) -> None:
    seed = tmp_path / f"seed{suffix}"
    lines = b"".join(b'{"namespace": "shop", "type": "OrderPlaced", "payload": {"n": %d}}\n' % n for n in range(3))
    seed.write_bytes(gzip.compress(lines) if suffix.endswith("gz") else lines)
    with served("--seed", str(seed)) as (_, announced):
        assert httpx.get(f"{announced['url']}/v1/position").json()["position"] == 3


def test_a_seed_that_is_refused_ends_it(tmp_path: Path) -> None:
    seed = tmp_path / "seed.ndjson"
    seed.write_text('{"namespace": "shop"}\n')
    process = started("--seed", str(seed))
    said, complaint = process.communicate(timeout=SECONDS)
    assert (process.returncode, said) == (1, "")
    assert "invalid-request" in complaint


def test_a_seed_that_is_damaged_ends_it(tmp_path: Path) -> None:
    seed = tmp_path / "seed.ndjson.gz"
    seed.write_bytes(b"not compressed")
    process = started("--seed", str(seed))
    said, complaint = process.communicate(timeout=SECONDS)
    assert (process.returncode, said) == (1, "")
    assert "Not a gzipped file" in complaint


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (("--workers", "2"), {}, "one process"),
        (("--seed", "/nowhere/seed.ndjson"), {}, "not a file"),
        (("--seed", __file__), {"FACTWIRE_AUTH": "keys"}, "without authentication"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: tuple[str, ...], environment: dict[str, str], expected: str
) -> None:
    process = started(*arguments, **environment)
    said, complaint = process.communicate(timeout=SECONDS)
    assert (process.returncode, said) == (2, "")
    assert expected in complaint


def test_a_seed_is_for_an_ephemeral_log_only() -> None:
    command = [sys.executable, "-m", "factwire", "serve", "--seed", __file__]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2
    assert "--ephemeral" in done.stderr


def test_it_ends_with_the_process_that_started_it() -> None:
    program = f"import subprocess, sys, time; subprocess.Popen({[*SERVE, '--with-parent']}); time.sleep(60)"
    environment = clean_environment() | {"PYTHONPATH": str(ROOT / "app")}
    parent = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    announced = json.loads(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not psutil.pid_exists(announced["pid"]) and not directory_of(announced).exists())


def test_the_next_one_removes_what_a_killed_one_left() -> None:
    process = started()
    assert process.stdout is not None
    announced = json.loads(process.stdout.readline())
    os.kill(announced["pid"], signal.SIGKILL)
    process.communicate(timeout=SECONDS)
    assert directory_of(announced).exists()
    with served() as (_, other):
        assert not directory_of(announced).exists()
        assert httpx.get(f"{other['url']}/v1/position").status_code == 200
    with pytest.raises((OSError, asyncpg.PostgresError)):
        run_sql(announced["database_url"], "select 1")


def test_without_a_place_for_a_cache_it_starts_all_the_same(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root has /var/cache")
    with served(HOME=str(tmp_path / "none"), XDG_CACHE_HOME="/proc/none") as (_, announced):
        assert Path(tempfile.gettempdir()) in directory_of(announced).parents
