"""factwire_client.testing, used as a project of one's own would use it."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from factwire_client.testing import EphemeralServer
from tests.support.service import ROOT, clean_environment

OWN_TESTS = """
import sqlite3
import threading

import pytest
from factwire_client import Factwire, Park, Query, SqliteView


def test_given_facts_are_there(facts):
    facts.given("OrderPlaced", {"total": 5}, aggregate_ids=["order-1"])
    assert [fact.payload for fact in facts.published()] == [{"total": 5}]
    assert facts.published()[0].namespace == facts.namespace


def test_a_worker_handles_what_was_published(facts):
    facts.given("OrderPlaced", 1, aggregate_ids=["order-1"])
    facts.given("OrderPlaced", 2, aggregate_ids=["order-2"])

    def bill(claimed):
        if claimed.fact.payload == 2:
            raise Park("closed")
        facts.log.publish(facts.namespace, "InvoiceSent", claimed.fact.payload, acknowledge=claimed)

    facts.work(bill, Query(namespaces=[facts.namespace], types=["OrderPlaced"]))
    assert [fact.payload for fact in facts.published(type="InvoiceSent")] == [1]
    with pytest.raises(ZeroDivisionError):
        facts.work(lambda claimed: 1 / 0)
    assert facts.log.request("GET", "/v1/subscriptions").json()["subscriptions"] == []


def test_facts_of_other_tests_are_not_seen(facts):
    assert facts.published() == []
    facts.given("Other", namespace="shop")
    assert [fact.namespace for fact in facts.published(type="Other")] == ["shop"]
    assert facts.published(Query(namespaces=[facts.namespace])) == []


def test_a_follower_is_waited_for(factwire, facts, tmp_path):
    path = tmp_path / "view.db"
    facts.given("OrderPlaced", 1)

    def follow():
        view = sqlite3.connect(path)
        view.execute("create table seen (n integer)")
        with factwire.client() as log:
            log.project(SqliteView(view, "seen"), Query(namespaces=[facts.namespace]), count, until_caught_up=True)

    def count(view, fact):
        view.execute("insert into seen values (?)", (fact.payload,))

    following = threading.Thread(target=follow)
    following.start()
    facts.wait_until_caught_up(lambda: cursor_of(path))
    following.join()
    assert sqlite3.connect(path).execute("select n from seen").fetchall() == [(1,)]


def cursor_of(path):
    try:
        return SqliteView(sqlite3.connect(path), "seen").cursor()
    except sqlite3.OperationalError:
        return "start"  # the follower has the lock


def test_waiting_ends(facts):
    facts.given("OrderPlaced")
    with pytest.raises(AssertionError, match="not within"):
        facts.wait_until_caught_up(lambda: "start", seconds=0.1)
"""
SECONDS = 60.0


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_project_tests_with_a_server_for_each_run(tmp_path: Path, workers: str) -> None:
    (tmp_path / "test_own.py").write_text(OWN_TESTS)
    environment = clean_environment() | {"PYTHONPATH": f"{ROOT / 'app'}:{ROOT / 'clients' / 'python'}"}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "factwire_client.testing.plugin",
            "-n",
            workers,
            "-p",
            "no:cacheprovider",
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert "5 passed" in done.stdout, done.stdout + done.stderr


def test_settings_and_logs_of_a_server() -> None:
    with EphemeralServer(command=[sys.executable, "-m", "factwire"], FACTWIRE_AUTH="keys") as server:
        assert "Started server process" in server.log
        pid = server.pid
    assert not psutil.pid_exists(pid)


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(RuntimeError, match="one process"):
        EphemeralServer("--workers", "2", command=[sys.executable, "-m", "factwire"])


def test_a_missing_service_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factwire_client.testing.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(RuntimeError, match=r"pip install 'factwire\[embedded\]'"):
        EphemeralServer()
