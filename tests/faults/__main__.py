"""`python -m tests.faults`: every fault in turn, each with a checked history, as a table and as JSON.

The run gets a network and mounts of its own: what a nemesis drops, fills or slows down is seen by nobody else, and is
gone with the run.
"""

import asyncio
import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator
from types import FrameType

import uvloop

from bench.processes import raise_open_files_limit
from tests.faults.nemeses.catalogue import faults
from tests.faults.network import prepare_loopback
from tests.faults.options import Options, parse
from tests.faults.report import table, write_json
from tests.faults.running import Result, run_fault

ISOLATED = "FACTWIRE_FAULTS_ISOLATED"
NEEDED = {"unshare": "util-linux", "mount": "mount", "ip": "iproute2", "nft": "nftables", "faketime": "faketime"}


def main() -> None:
    options = parse()
    if ISOLATED not in os.environ:
        isolate()
    del os.environ[ISOLATED]
    prepare_loopback()
    raise_open_files_limit()
    signal.signal(signal.SIGTERM, _interrupt)
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = list(_results(runner, options, seed))
    if not results:
        sys.exit(f"faults: no fault has {options.only!r} in its name")
    print(f"\n{table(results)}")
    if options.results:
        write_json(options.results, seed, results)
    sys.exit(any(result.failure for result in results))


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


def _results(runner: asyncio.Runner, options: Options, seed: int) -> Iterator[Result]:
    for fault in faults():
        if options.only in fault.name:
            result = runner.run(run_fault(fault, seed, scale=options.scale))
            print(result.line(), flush=True)
            yield result


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Ends like Ctrl-C does, so that everything that was started is stopped."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
