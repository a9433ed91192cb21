"""Embedded PostgreSQL: a real server from a wheel, started and stopped with the service.

Several processes may use the server of one directory. Each holds a shared lock on a file there for as long as it
lives, however it ends; the last one, which gets the exclusive lock, stops the server. A lock on the directory itself
ensures that only one process at a time starts or stops the server.
"""

import atexit
import fcntl
import logging
import os
import pwd
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from urllib.parse import quote

import platformdirs

from factwire.store.embedded_programs import MAJOR, EmbeddedRefused, Engine, find_engine

log = logging.getLogger(__name__)

PORT = 5432  # part of the socket's name; the server listens on no address
SOCKET_PATH_MAX = 103  # bytes, the limit of macOS; Linux allows 107
SOCKETS_PREFIX = "factwire-socket-"
VERSION_FILE = "PG_VERSION"
UNFINISHED = "factwire.new"
USERS_FILE = "factwire.users"
LOG_FILE = "log"
POSTMASTER_FILE = "postmaster.pid"
TURN_SECONDS = 120.0
START_SECONDS = 600.0  # the time that crash recovery may take
WATCH_SECONDS = 1.0
POLL_SECONDS = 0.05
launched: set[int] = set()  # servers started by this process; they outlive it if others use them
INITDB = ("--auth=trust", "--auth-local=trust", "--encoding=utf8", "--username=postgres")


def default_directory() -> Path:
    """Data directory if no setting names another. Raises EmbeddedRefused if there is no home directory."""
    if os.geteuid() == 0:
        return Path("/var/lib/factwire")
    try:
        return Path(platformdirs.user_data_dir("factwire"))
    except RuntimeError:
        raise EmbeddedRefused(
            "the home directory is unknown: set FACTWIRE_DATA_DIR, or FACTWIRE_DATABASE_URL"
        ) from None


def running_url(directory: Path) -> str | None:
    """URL of the server of a data directory, if one runs there. Nothing is started, and nothing is changed."""
    postmaster = postmaster_of(directory)
    return None if postmaster is None else url_of(postmaster.socket_directory, postmaster.port)


def start(directory: Path) -> "EmbeddedServer":
    """Start the server of a data directory, which is created if need be, or join one that runs already.

    Raises NotInstalled if the wheel is not installed, and EmbeddedRefused if the server cannot be started here.
    Starting waits for crash recovery to end.
    """
    try:
        place = directory.expanduser().absolute()
    except RuntimeError:
        raise EmbeddedRefused(f"FACTWIRE_DATA_DIR: unknown home directory of {directory}") from None
    server = EmbeddedServer(place, find_engine())
    atexit.register(server.stop)
    server.begin()
    threading.Thread(target=server.watch, name="embedded PostgreSQL", daemon=True).start()
    return server


class Postmaster:
    """Contents of the `postmaster.pid` of a server: its process, its socket and its state."""

    def __init__(self, directory: Path, lines: list[str]) -> None:
        self.pid = int(lines[0])
        self.port = int(lines[3])
        self.socket_directory = directory if lines[4] in ("", ".") else Path(lines[4])
        self.is_ready = len(lines) > 7 and lines[7].strip() == "ready"
        self.is_stopping = len(lines) > 7 and lines[7].strip() == "stopping"

    @property
    def socket(self) -> Path:
        return self.socket_directory / f".s.PGSQL.{self.port}"


def postmaster_of(directory: Path) -> Postmaster | None:
    try:
        return Postmaster(directory, (directory / POSTMASTER_FILE).read_text().splitlines())
    except (OSError, ValueError, IndexError):
        return None


def url_of(socket_directory: Path, port: int) -> str:
    return f"postgresql://postgres@/postgres?host={quote(str(socket_directory), safe='')}&port={port}"


class EmbeddedServer:
    """This process as one of the users of the server of a directory."""

    def __init__(self, directory: Path, engine: Engine) -> None:
        self.directory = directory
        self.engine = engine
        self._users: int | None = None
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        return running_url(self.directory) or url_of(self.directory, PORT)

    def begin(self) -> None:
        """Become a user of the server, which is created and started if need be."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._turn():
            self.prepare()
            self.make()
            self._users = open_own(self.directory / USERS_FILE, self.engine)
            fcntl.flock(self._users, fcntl.LOCK_SH)
            if self.is_running():
                log.info("the PostgreSQL of %s is already running and is shared", self.directory)
            else:
                self.launch()

    def stop(self) -> None:
        """Stop being a user of the server; its last user stops it."""
        self._stopping.set()
        if self._users is None:
            return
        with self._turn():
            users, self._users = self._users, None
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.end()
            except BlockingIOError:
                pass  # others use it
            finally:
                os.close(users)

    def watch(self) -> None:
        """Start the server again if it ends, for as long as this process uses it."""
        last_error = ""
        while not self._stopping.wait(WATCH_SECONDS):
            if self.is_running():
                last_error = ""
                continue
            try:
                with self._turn():
                    if not self._stopping.is_set() and not self.is_running():
                        log.error("the embedded PostgreSQL has ended and is restarted")
                        self.launch()
            except (EmbeddedRefused, OSError) as error:
                if str(error) != last_error:  # resources of its last processes are released soon
                    last_error = str(error)
                    log.warning("the embedded PostgreSQL could not be started yet: %s", error)

    def is_running(self) -> bool:
        """True if the server accepts connections at its socket."""
        postmaster = postmaster_of(self.directory)
        if postmaster is None or postmaster.is_stopping:
            return False
        try:
            with socket.socket(socket.AF_UNIX) as tried:
                tried.settimeout(WATCH_SECONDS)
                tried.connect(str(postmaster.socket))
        except OSError:
            return False
        return True

    def make(self, options: Sequence[str] = ()) -> None:
        """Create the database if it does not exist: in a folder of its own, then moved out of it once complete.

        An unfinished database has no PG_VERSION, and is created again. `options` are further ones of initdb.
        """
        if (self.directory / VERSION_FILE).exists():
            check_version(self.directory)
            return
        for left in self.directory.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        new = self.directory / UNFINISHED
        new.mkdir(mode=0o700)
        if self.engine.user is not None:
            os.chown(new, self.engine.user.pw_uid, self.engine.user.pw_gid)
        self.engine.run("initdb", [*INITDB, *options, "-D", self.engine.place(new)], directory=new)
        for each in sorted(new.iterdir(), key=lambda each: each.name == VERSION_FILE):
            each.rename(self.directory / each.name)
        new.rmdir()

    def launch(self) -> None:
        """Start the server and wait until it is ready. Raises EmbeddedRefused with its last message."""
        reap()
        forget_socket_directory(postmaster_of(self.directory))
        place = self.engine.place(self.directory)
        sockets = self._socket_directory()
        inside = sockets == self.directory and place != str(self.directory)
        written = "." if inside else quote_directory(sockets)
        log_file = open_own(self.directory / LOG_FILE, self.engine)
        try:
            began_at = os.fstat(log_file).st_size
            process = self.engine.start(
                "postgres",
                ["-D", place, "-p", str(PORT), "-c", "listen_addresses=", "-c", f"unix_socket_directories={written}"],
                directory=self.directory,
                log=log_file,
            )
        finally:
            os.close(log_file)
        try:
            self._await_ready(process, began_at)
        except BaseException:
            process.send_signal(signal.SIGINT)  # a fast shutdown
            raise
        process.returncode = 0  # no longer tracked by Popen: reap collects it once it has ended
        launched.add(process.pid)

    def end(self, *, mode: str = "fast") -> None:
        """Stop the server, even if others use it: `fast` writes a checkpoint, `immediate` is a crash."""
        postmaster = postmaster_of(self.directory)
        if postmaster is None:
            return
        place = self.engine.place(self.directory)
        for how in (mode, "immediate"):
            with suppress(EmbeddedRefused, TimeoutExpired):  # it may have ended by itself
                self.engine.run("pg_ctl", ["-D", place, "-m", how, "-w", "stop"], directory=self.directory)
            if postmaster_of(self.directory) is None:
                break
        reap()
        forget_socket_directory(postmaster)

    def _await_ready(self, process: "Popen[bytes]", began_at: int) -> None:
        give_up_at = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up_at:
            if process.poll() is not None:
                raise EmbeddedRefused(f"PostgreSQL does not start in {self.directory}: {self._last_words(began_at)}")
            postmaster = postmaster_of(self.directory)
            if postmaster is not None and postmaster.pid == process.pid and postmaster.is_ready:
                return
            time.sleep(POLL_SECONDS)
        raise EmbeddedRefused(f"PostgreSQL in {self.directory} is not ready after {START_SECONDS:g} s")

    def _last_words(self, began_at: int) -> str:
        with (self.directory / LOG_FILE).open("rb") as file:
            file.seek(began_at)
            lines = file.read(64 * 1024).decode(errors="replace").splitlines()
        reporting = [line for line in lines if "FATAL" in line] or lines
        return reporting[-1] if reporting else "it says nothing"

    def prepare(self) -> None:
        """Create the directory, and refuse one that is not ours. Permissions of other folders are never changed."""
        directory, user = self.directory, self.engine.user
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        holds_data = (directory / VERSION_FILE).exists()
        if not holds_data and any(directory.iterdir()) and not (directory / UNFINISHED).exists():
            raise FileExistsError(
                f"FACTWIRE_DATA_DIR: {directory} contains something other than a PostgreSQL data directory"
            )
        owner = directory.stat().st_uid
        if user is not None and owner == 0 and not holds_data:
            os.chown(directory, user.pw_uid, user.pw_gid)
        elif owner != self.engine.uid:
            raise EmbeddedRefused(
                f"FACTWIRE_DATA_DIR: {directory} belongs to {name_of(owner)}, and PostgreSQL would run as"
                f" {name_of(self.engine.uid)}: choose another directory"
            )
        directory.chmod(0o700)

    def _socket_directory(self) -> Path:
        """Data directory, which is closed to others; or a closed temporary directory if its path cannot be used.

        The path may be too long, or contain a comma, which separates the hosts of a URL.
        """
        if len(os.fsencode(self.directory / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_MAX and "," not in str(self.directory):
            return self.directory
        made = Path(tempfile.mkdtemp(prefix=SOCKETS_PREFIX))
        if self.engine.user is not None:
            os.chown(made, self.engine.user.pw_uid, self.engine.user.pw_gid)
        return made

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the lock that allows one process at a time to start or stop the server of the directory."""
        directory = os.open(self.directory, os.O_RDONLY)
        try:
            give_up_at = time.monotonic() + TURN_SECONDS
            while True:
                try:
                    fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > give_up_at:
                        raise EmbeddedRefused(
                            f"another process has been starting or stopping the PostgreSQL of {self.directory} for"
                            f" {TURN_SECONDS:g} s"
                        ) from None
                    time.sleep(POLL_SECONDS)
            yield
        finally:
            os.close(directory)


def reap() -> None:
    """Reap ended servers that this process had started, so that no zombie processes remain."""
    for pid in list(launched):
        with suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                continue
        launched.discard(pid)


def check_version(directory: Path) -> None:
    """Raises EmbeddedRefused if a directory is of another version of PostgreSQL, or its creation was not finished."""
    found = (directory / VERSION_FILE).read_text().strip()
    if found != str(MAJOR):
        raise EmbeddedRefused(
            f"FACTWIRE_DATA_DIR: {directory} is of PostgreSQL {found}, and the embedded one is {MAJOR}: dump it with"
            f" PostgreSQL {found} and restore it into an empty directory, or run pg_upgrade"
        )
    if not (directory / "global" / "pg_control").exists():
        raise EmbeddedRefused(f"FACTWIRE_DATA_DIR: {directory} was not made to its end: remove it, and start again")


def open_own(path: Path, engine: Engine) -> int:
    """Open a file of the server's user for appending, and create it if need be. A symbolic link is not followed."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if engine.user is not None:
        os.fchown(file, engine.user.pw_uid, engine.user.pw_gid)
    return file


def forget_socket_directory(postmaster: Postmaster | None) -> None:
    """Remove the directory of a socket if it was created only for that."""
    made = Path() if postmaster is None else postmaster.socket_directory
    if made.parent == Path(tempfile.gettempdir()) and made.name.startswith(SOCKETS_PREFIX):
        shutil.rmtree(made, ignore_errors=True)


def quote_directory(directory: Path) -> str:
    """Directory, quoted as an element of a list in a setting of PostgreSQL."""
    return '"' + str(directory).replace('"', '""') + '"'


def name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
