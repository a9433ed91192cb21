"""Services as forks of one process that has imported them: importing takes longer than everything else of a start."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

POLL_SECONDS = 0.005
START_SECONDS = 30.0


class Process(Protocol):
    """What tests use of a process; subprocess.Popen has it as well."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    def send_signal(self, sig: int) -> None: ...


class Forks:
    """The forking process of one test run, started with its first service."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None
        self._template: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._started: list[int] = []
        self._codes: dict[int, int] = {}

    def start(self, environment: Mapping[str, str], *, directory: Path, log_path: Path) -> "Fork":
        request = {
            "environment": dict(environment),
            "directory": str(directory),
            "log": str(log_path),
            "open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
        }
        with self._lock:
            self._open().sendall(json.dumps(request).encode() + b"\n")
            while not self._started:
                self._receive(block=True)
            return Fork(self, self._started.pop())

    def code_of(self, pid: int) -> int | None:
        """The exit code of a service that has ended."""
        with self._lock:
            self._receive(block=False)
            return self._codes.get(pid)

    def close(self) -> None:
        if self._channel is not None and self._template is not None:
            self._channel.close()
            self._template.wait(20)

    def _open(self) -> socket.socket:
        if self._channel is None:
            self._channel, theirs = socket.socketpair()
            command = [sys.executable, "-m", "tests.support.fork_template", str(theirs.fileno())]
            environment = os.environ | {"PYTHONPATH": f"{self._root}{os.pathsep}{self._root / 'app'}"}
            self._template = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()], cwd=self._root)
            theirs.close()
        return self._channel

    def _receive(self, *, block: bool) -> None:
        assert self._channel is not None
        self._channel.settimeout(START_SECONDS if block else 0)
        try:
            received = self._channel.recv(65536)
        except BlockingIOError:
            return
        finally:
            self._channel.settimeout(START_SECONDS)
        assert received, "the forking process has ended"
        *lines, self._rest = (self._rest + received).split(b"\n")
        for message in map(json.loads, lines):
            if "code" in message:
                self._codes[message["pid"]] = message["code"]
            else:
                self._started.append(message["pid"])


class Fork:
    """One service, as a child of the forking process, which reports its end."""

    def __init__(self, forks: Forks, pid: int) -> None:
        self._forks = forks
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._forks.code_of(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        give_up_at = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (code := self.poll()) is None:
            if time.monotonic() > give_up_at:
                raise subprocess.TimeoutExpired("factwire serve", timeout or 0)
            time.sleep(POLL_SECONDS)
        return code

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)
