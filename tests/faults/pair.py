"""A primary and its standby on loopback, to be killed, cut off and promoted."""

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from factwire.store.embedded import EmbeddedServer
from factwire.store.embedded_programs import EmbeddedRefused, find_engine
from tests.support.service import free_port

CONFIGURATION = """
max_connections = 100
unix_socket_directories = ''
listen_addresses = '127.0.0.1'
wal_level = replica
max_wal_senders = 5
hot_standby = on
"""


class Node:
    """One server of the pair."""

    def __init__(self, directory: Path, *, environment: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self._environment = os.environ | dict(environment or {})
        self.port = free_port()
        self._server = EmbeddedServer(directory, find_engine())
        directory.mkdir(mode=0o700)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def initialise(self) -> None:
        self._server.prepare()
        self._server.make()
        with (self.directory / "postgresql.conf").open("a") as configuration:
            configuration.write(CONFIGURATION)

    def copy(self, primary: "Node") -> None:
        """Become a standby of another node, which runs."""
        self._server.prepare()
        self._run("pg_basebackup", "-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres",
                  "-D", self._place, "-R", "-X", "stream", "-c", "fast")  # fmt: skip

    def start(self, **settings: str) -> None:
        options = "".join(f" -c {name}={value}" for name, value in settings.items())
        self._control("-l", f"{self._place}/server.log", "-o", f"-p {self.port}{options}", "start")

    def stop(self) -> None:
        self._control("-m", "fast", "stop")

    def promote(self) -> None:
        self._control("promote")

    def kill(self) -> None:
        """End all its processes at once, as a machine does that loses its power."""
        pid_file = self.directory / "postmaster.pid"
        processes = self.processes()
        os.kill(processes[0].pid, signal.SIGSTOP)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=10)
        pid_file.unlink()  # by the time the node is removed, its number may be another process's

    def processes(self) -> list[psutil.Process]:
        """The postmaster and all that it started."""
        postmaster = psutil.Process(int((self.directory / "postmaster.pid").read_text().splitlines()[0]))
        return [postmaster, *postmaster.children(recursive=True)]

    def signal_all(self, number: signal.Signals) -> None:
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def is_running(self) -> bool:
        try:
            return self.processes()[0].status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return False

    def remove(self) -> None:
        with suppress(FileNotFoundError, psutil.NoSuchProcess):
            self.kill()

    @property
    def _place(self) -> str:
        return self._server.engine.place(self.directory)

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-w", "-D", self._place, *arguments)

    def _run(self, command: str, *arguments: str) -> None:
        try:
            self._server.engine.run(command, arguments, directory=self.directory, environment=self._environment)
        except EmbeddedRefused as error:
            log = self.directory / "server.log"
            raise AssertionError(f"{command} failed: {log.read_text() if log.exists() else error}") from error


class Pair:
    """A primary with a standby that follows it, and the URL under which a service finds whichever takes writes."""

    def __init__(self, directory: Path, *, synchronous: bool) -> None:
        self.primary, self.standby = Node(directory / "a"), Node(directory / "b")
        try:
            self._start(synchronous)
        except BaseException:
            self.remove()
            raise

    def _start(self, synchronous: bool) -> None:
        self.primary.initialise()
        self.primary.start()
        self.standby.copy(self.primary)
        self.standby.start()
        if synchronous:
            # Only on the command line of the first primary: the promoted one has no standby to wait for.
            self.primary.stop()
            self.primary.start(synchronous_standby_names="'*'")

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in (self.primary, self.standby))
        return f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"

    def remove(self) -> None:
        self.primary.remove()
        self.standby.remove()
