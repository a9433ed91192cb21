"""Ephemeral database: a copy of a migrated template in a temporary directory, removed when the process ends.

The template is made once for each version of the service and of PostgreSQL, and kept in the cache directory of the
user. It is not durable: after a crash of the machine an ephemeral database is gone anyway.
"""

import atexit
import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import platformdirs

from factwire.paths import resource_path
from factwire.store.embedded import USERS_FILE, EmbeddedServer
from factwire.store.embedded_programs import WHEEL, Engine, find_engine
from factwire.store.schema.migrate import migrate

log = logging.getLogger(__name__)

PREFIX = "factwire-ephemeral-"
TEMPLATE_PREFIX = "template-"
NOT_DURABLE = "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\n"
UNSTARTED_SECONDS = 600.0
SMALL = ("--wal-segsize=1", "--no-sync")  # less to copy


def start() -> EmbeddedServer:
    """Start the server of a new, empty log. It ends with this process, and its directory is removed.

    Raises NotInstalled and EmbeddedRefused as the embedded PostgreSQL does.
    """
    engine = find_engine()
    sweep(engine)
    directory = Path(tempfile.mkdtemp(prefix=PREFIX))
    server = EmbeddedServer(directory, engine)
    atexit.register(remove, server)
    with cache_directory() as cache:
        copy(template_in(cache, engine), directory, engine)
    server.begin()
    return server


def remove(server: EmbeddedServer) -> None:
    with suppress(OSError):
        server.end(mode="immediate")
        shutil.rmtree(server.directory)


def sweep(engine: Engine) -> None:
    """Remove directories of killed processes: nothing holds their lock, or they got none within ten minutes."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError), ExitStack() as locks:  # of another user, or removed meanwhile
            lock_at_once(directory, locks)  # held by a process that is starting
            if (directory / USERS_FILE).exists():
                lock_at_once(directory / USERS_FILE, locks)
            elif time.time() - directory.stat().st_mtime < UNSTARTED_SECONDS:
                continue
            log.info("%s was left behind and is removed", directory)
            remove(EmbeddedServer(directory, engine))


def lock_at_once(path: Path, locks: ExitStack) -> None:
    """Raises OSError if another process has the lock."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    locks.callback(os.close, file)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def cache_directory() -> Iterator[Path]:
    """Directory of the template, for this process alone; a temporary one if the user has no place for a cache."""
    place = Path("/var/cache/factwire") if os.geteuid() == 0 else Path(platformdirs.user_cache_dir("factwire"))
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (OSError, RuntimeError):
        with tempfile.TemporaryDirectory(prefix="factwire-cache-") as instead:
            yield Path(instead)
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield place
    finally:
        os.close(lock)


def template_in(cache: Path, engine: Engine) -> Path:
    """Template of this version, made at its first use; templates of other versions are removed."""
    template = cache / f"{TEMPLATE_PREFIX}{fingerprint()}"
    if template.exists():
        return template
    for old in cache.glob(f"{TEMPLATE_PREFIX}*"):
        shutil.rmtree(old, ignore_errors=True)
    new = cache / f"{TEMPLATE_PREFIX}unfinished"
    server = EmbeddedServer(new, engine)
    server.prepare()
    server.make(SMALL)
    with (new / "postgresql.conf").open("a") as configuration:
        configuration.write(NOT_DURABLE)
    server.launch()
    try:
        migrate(server.url)
    finally:
        server.end()
    new.rename(template)
    return template


def fingerprint() -> str:
    """Fingerprint of all that a template depends on."""
    digest = hashlib.sha256(f"{version(WHEEL)} {NOT_DURABLE} {SMALL}".encode())
    for path in sorted(each for each in resource_path("alembic").rglob("*") if each.suffix in (".py", ".sql")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def copy(template: Path, directory: Path, engine: Engine) -> None:
    shutil.copytree(template, directory, dirs_exist_ok=True, copy_function=shutil.copyfile)
    for each in (directory, *directory.rglob("*")):
        each.chmod(0o700 if each.is_dir() else 0o600)
        if engine.user is not None:
            os.chown(each, engine.user.pw_uid, engine.user.pw_gid)
