"""The image as a cluster runs it: as process 1, with a read-only root and without capabilities."""

import subprocess
from collections.abc import Mapping
from typing import Self
from uuid import uuid4

from tests.support.service import ROOT

ENGINE = ("podman", "--runtime", "runc")
ENGINE_SECONDS = 90.0
BUILD_SECONDS = 900.0

# An engine may ask for higher limits by itself than the machine grants.
LIMITS = ("--ulimit=nofile=4096:4096", "--ulimit=nproc=1024:1024")
CONFINED = (
    *LIMITS,
    "--network=host",
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--health-interval=disable",  # the tests ask for it themselves; the engine would want systemd
)


class Container:
    """One command of the image, running; it is gone after the `with`."""

    def __init__(self, image: str, command: str, settings: Mapping[str, str], *, user: str | None = None) -> None:
        self.name = f"factwire-test-{uuid4().hex[:12]}"
        environment = (f"--env={name}={value}" for name, value in settings.items())
        as_user = () if user is None else (f"--user={user}",)
        engine("run", "--detach", f"--name={self.name}", *CONFINED, *as_user, *environment, image, command)

    @property
    def log(self) -> str:
        done = engine("logs", self.name)
        return done.stdout + done.stderr

    def signal(self, name: str) -> None:
        engine("kill", f"--signal={name}", self.name)

    def stop(self, *, seconds: int) -> None:
        """Send the image's own stop signal, and kill what runs after that time."""
        engine("stop", f"--time={seconds}", self.name)

    def exit_code(self) -> int:
        """Wait for the end."""
        return int(engine("wait", self.name).stdout)

    def is_healthy(self) -> bool:
        return engine("healthcheck", "run", self.name, may_fail=True).returncode == 0

    def execute(self, *command: str, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
        return engine("exec", self.name, *command, may_fail=may_fail)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        engine("rm", "--force", "--time=0", self.name)


def build(image: str) -> None:
    subprocess.run(["deploy/image/build", image], cwd=ROOT, timeout=BUILD_SECONDS, check=True)


def inspect(image: str, template: str) -> str:
    return engine("image", "inspect", f"--format={template}", image).stdout.strip()


def output_of(image: str, *command: str) -> str:
    """What a command prints as the image's user; here the root can be written to, so that its rights show."""
    entrypoint, *arguments = command
    return engine("run", "--rm", *LIMITS, "--health-interval=disable", "--network=none",
                  f"--entrypoint={entrypoint}", image, *arguments, may_fail=True).stdout  # fmt: skip


def engine(*arguments: str, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*ENGINE, *arguments], capture_output=True, text=True, timeout=ENGINE_SECONDS, check=False)
    assert may_fail or done.returncode == 0, done.stderr
    return done
