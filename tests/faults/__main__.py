"""`python -m tests.faults`: every fault in turn, each with a checked history, as a table and as JSON.

The run gets a network and mounts of its own: what a nemesis drops, fills or slows down is seen by nobody else, and is
gone with the run.
"""

import os
import shutil
import sys

from tests.faults.options import parse

ISOLATED = "FACTWIRE_FAULTS_ISOLATED"
NEEDED = {"unshare": "util-linux", "mount": "mount", "ip": "iproute2", "nft": "nftables", "faketime": "faketime"}


def main() -> None:
    options = parse()
    if os.environ.pop(ISOLATED, None) is None:
        isolate()
    from tests.faults.suite import run  # only here: its libraries take a while, and warn unless they are told not to

    sys.exit(run(options))


def isolate() -> None:
    """Begin anew in namespaces of our own."""
    missing = [package for command, package in NEEDED.items() if not shutil.which(command)]
    if missing or os.geteuid() != 0 or sys.platform != "linux":
        sys.exit(
            "The faults need Linux, root, and nftables, faketime, iproute2 and util-linux"
            f" (Debian, Ubuntu: apt-get install {' '.join(missing) or 'nftables faketime'})."
        )
    os.environ[ISOLATED] = "1"
    # The wheel looks for a directory of the login session, and a server has none.
    quiet = "-Wignore:XDG_RUNTIME_DIR is not set"
    os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, quiet, "-m", "tests.faults", *sys.argv[1:]])


if __name__ == "__main__":
    main()
