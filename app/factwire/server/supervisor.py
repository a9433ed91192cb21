"""Supervisor of several worker processes on one port: starts, watches, replaces and stops them."""

import logging
import os
import signal
import subprocess
import sys
import time
from types import FrameType

from factwire.server.server import bind
from factwire.settings import Settings

log = logging.getLogger(__name__)

WATCH_SECONDS = 0.2
RESTART_SECONDS = 1.0
STOP_SECONDS = 40.0


class Workers:
    """Worker processes of one service. The kernel spreads the connections over their sockets."""

    def __init__(self, settings: Settings) -> None:
        assert settings.database_url is not None
        # Bound but not listening: it keeps the port for the workers and gets no connection itself.
        self._reserved = bind(settings.host, settings.port, shared=True)
        self.port: int = self._reserved.getsockname()[1]
        self._count = settings.workers
        given = {name: value for name, value in os.environ.items() if name != "FACTWIRE_DATABASE_URL_FILE"}
        self._environment = given | {
            "FACTWIRE_DATABASE_URL": settings.database_url.get_secret_value(),
            "FACTWIRE_HOST": settings.host,
            "FACTWIRE_PORT": str(self.port),
        }
        self._renews = settings.tls_certificate_file is not None
        self._stopping = False

    def run(self) -> int:
        """Keep the workers running until SIGTERM or SIGINT. Returns exit code 0 if all ended well."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        running: list[subprocess.Popen[bytes]] = []
        if self._renews:
            # An ignored signal stays ignored after exec: it does not end a worker that is starting.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        running.extend(self._start() for _ in range(self._count))
        if self._renews:
            signal.signal(signal.SIGHUP, lambda number, frame: renew(running))
        while not self._stopping:
            time.sleep(WATCH_SECONDS)
            for index, worker in enumerate(running):
                if worker.poll() is not None and not self._stopping:
                    log.error("worker %d ended with %d and is replaced", worker.pid, worker.returncode)
                    time.sleep(RESTART_SECONDS)
                    running[index] = self._start()
        alive = [worker for worker in running if worker.poll() is None]
        for worker in alive:
            worker.terminate()
        return max(map(wait_for, alive), default=0)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "factwire", "serve-worker", str(os.getpid())], env=self._environment
        )

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True


def renew(workers: list[subprocess.Popen[bytes]]) -> None:
    """Make each worker read its certificate again."""
    for worker in workers:
        worker.send_signal(signal.SIGHUP)


def wait_for(worker: subprocess.Popen[bytes]) -> int:
    try:
        code = worker.wait(STOP_SECONDS)
        return 0 if code == -signal.SIGTERM else abs(code)  # a worker that was still starting has nothing to drain
    except subprocess.TimeoutExpired:
        worker.kill()
        return 1
