"""Tests against a real service: a server for the run, and facts of its own for each test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from importlib.util import find_spec
from inspect import iscoroutinefunction
from typing import Any, Callable, Sequence

from .._sync.client import Factwire
from ..facts import AnyQuery, Fact, NewFact, Published
from ..work import Claimed, Park, Retry

__all__ = ["EphemeralServer", "Facts"]

START_SECONDS = 60.0
STOP_SECONDS = 20.0
WAIT_SECONDS = 10.0
POLL_SECONDS = 0.01


class EphemeralServer:
    """`factwire serve --ephemeral`: a new log, which is gone when the server stops or this process ends."""

    def __init__(self, *options: str, command: Sequence[str] | None = None, **settings: str) -> None:
        """`settings` are those of the service: `FACTWIRE_AUTH="keys"`. `command` runs `factwire` (default: found)."""
        program = command or found_command()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FACTWIRE_")}
        self._log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [*program, "serve", "--ephemeral", "--announce", "json", "--with-parent", *options],
            env={**environment, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        announced = self._announcement()
        self.url: str = announced["url"]
        self.database_url: str = announced["database_url"]
        self.pid: int = announced["pid"]

    @property
    def log(self) -> str:
        """What the server has logged."""
        self._log.seek(0)
        return self._log.read()

    def check(self) -> None:
        """Raises RuntimeError with the log if the server has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the server has ended with {self._process.returncode}: {self.log[-2000:]}")

    def client(self, **options: Any) -> Factwire:
        return Factwire(self.url, **options)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> EphemeralServer:
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def _announcement(self) -> dict[str, Any]:
        late = threading.Timer(START_SECONDS, self._process.kill)
        late.start()
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        late.cancel()
        if not line:
            said = self.log
            self.stop()
            raise RuntimeError(f"factwire serve --ephemeral did not start: {said.strip() or 'it said nothing'}")
        announced: dict[str, Any] = json.loads(line)
        return announced


class Facts:
    """Facts of one test, in a namespace of its own. `begin` is the cursor at which the test began."""

    def __init__(self, url: str, **options: Any) -> None:
        self.log = Factwire(url, **options)
        self.namespace = f"test-{uuid.uuid4()}"
        self.begin = self.log.position().cursor

    def given(self, type: str, payload: Any = None, *, namespace: str | None = None, **members: Any) -> Published:
        """Publish a fact, in the test's namespace unless another is named."""
        return self.log.publish(namespace or self.namespace, type, payload, **members)

    def given_all(self, facts: Sequence[NewFact]) -> Published:
        return self.log.publish_all(facts)

    def published(self, query: AnyQuery | None = None, *, type: str | None = None) -> list[Fact]:
        """Facts that were published since the test began, in any namespace, by anybody."""
        facts = self.log.read(query, after=self.begin)
        return [fact for fact in facts if type is None or fact.type == type]

    def work(self, handle: Callable[[Claimed], None], query: AnyQuery | None = None, **rules: Any) -> None:
        """Let a worker handle what was published since the test began, until nothing is left to claim.

        Its subscription is of this call only, and `rules` are those of `subscribe`. Raises the first failure of
        `handle` that is neither Retry nor Park.
        """
        name = f"{self.namespace}-{uuid.uuid4()}"
        failures: list[Exception] = []

        def watched(claimed: Claimed) -> None:
            try:
                handle(claimed)
            except (Park, Retry):
                raise
            except Exception as failure:
                failures.append(failure)
                raise

        self.log.subscribe(name, query, start=self.begin, **rules)
        try:
            self.log.work(name, watched, until_caught_up=True)
        finally:
            self.log.request("DELETE", f"/v1/subscriptions/{name}")
        if failures:
            raise failures[0]

    def wait_until_caught_up(self, view: Any, *, seconds: float = WAIT_SECONDS) -> None:
        """Wait until a view, or a function that returns a cursor, has come to the present head.

        The view has a connection of its own, not that on which another thread projects.
        """
        head = self.log.position()
        cursor: Callable[[], str] = view.cursor if hasattr(view, "cursor") else view
        if iscoroutinefunction(cursor):
            raise TypeError("this view is of a program with tasks: give a function that returns its cursor")
        self.wait_until(lambda: position_of(cursor()) >= head.head, seconds=seconds, what=f"position {head.head}")

    def wait_until(self, claim: Callable[[], Any], *, seconds: float = WAIT_SECONDS, what: str = "the claim") -> Any:
        """Wait until a claim is true, and return it. Raises AssertionError if it is not in time."""
        give_up_at = time.monotonic() + seconds
        while True:
            found = claim()
            if found:
                return found
            assert time.monotonic() < give_up_at, f"{what}: not within {seconds:g} seconds"
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        self.log.close()


def position_of(cursor: str) -> int:
    number = cursor.rpartition(":")[2]
    return int(number) if number.isdecimal() else 0


def found_command() -> Sequence[str]:
    """How `factwire` is run: FACTWIRE_COMMAND, this Python's, or that of the PATH. Raises RuntimeError."""
    if "FACTWIRE_COMMAND" in os.environ:
        return os.environ["FACTWIRE_COMMAND"].split()
    if find_spec("factwire") is not None:
        return [sys.executable, "-m", "factwire"]
    on_path = shutil.which("factwire")
    if on_path is None:
        raise RuntimeError("factwire was not found: pip install 'factwire[embedded]', or set FACTWIRE_COMMAND")
    return [on_path]
