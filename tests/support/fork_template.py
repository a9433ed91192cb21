"""A process that has imported the service, and forks itself for each service that a test starts.

`python -m tests.support.fork_template FD`: requests and answers are JSON lines on the socket FD. A request has `log`,
`environment` and `directory`, and is answered with `{"pid": …}`; the end of a service is `{"pid": …, "code": …}`.
"""

import json
import os
import resource
import select
import signal
import socket
import sys
from importlib import import_module
from runpy import run_module
from typing import Any

MODULES = ("factwire.cli.main", "factwire.cli.serve", "factwire.composition.application", "uvloop")


def main() -> None:
    for name in MODULES:
        import_module(name)
    channel = socket.socket(fileno=int(sys.argv[1]))
    reads, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve_requests(channel, reads, wakes)


def serve_requests(channel: socket.socket, reads: int, wakes: int) -> None:
    """Fork for each request and report each end, until the tests have ended."""
    rest = b""
    while True:
        ready, _, _ = select.select([channel.fileno(), reads], [], [])
        if reads in ready:
            os.read(reads, 1024)
            report_ends(channel)
        if channel.fileno() in ready:
            received = channel.recv(65536)
            if not received:
                return
            *lines, rest = (rest + received).split(b"\n")
            for line in lines:
                if os.fork() == 0:
                    os.close(reads)
                    os.close(wakes)
                    become_service(json.loads(line), channel)


def report_ends(channel: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        answer(channel, pid=pid, code=os.waitstatus_to_exitcode(status))


def answer(channel: socket.socket, **message: int) -> None:
    channel.sendall(json.dumps(message).encode() + b"\n")


def become_service(request: dict[str, Any], channel: socket.socket) -> None:
    """Turn this fork into `python -m factwire serve`, as if it had been started for it. It ends with the process."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    resource.setrlimit(resource.RLIMIT_NOFILE, request["open_files"])
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    with open(os.devnull, "rb") as nothing, open(request["log"], "ab") as log:
        for file, number in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(file.fileno(), number)
    answer(channel, pid=os.getpid())
    channel.close()
    sys.argv = ["factwire", "serve"]
    run_module("factwire", run_name="__main__")


if __name__ == "__main__":
    main()
