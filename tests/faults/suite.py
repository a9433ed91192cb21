"""The suite: every fault that was asked for, one after the other."""

import asyncio
import random
import signal
import sys
from collections.abc import Iterator
from types import FrameType

import uvloop

from bench.processes import raise_open_files_limit
from tests.faults.nemeses.catalogue import faults
from tests.faults.network import prepare_loopback
from tests.faults.options import Options
from tests.faults.report import surroundings, table, write_json
from tests.faults.running import Result, run_fault


def run(options: Options) -> int:
    """Run the faults in the network of this process, which is its own; the exit code is 0 if no promise was broken."""
    prepare_loopback()
    raise_open_files_limit()
    signal.signal(signal.SIGTERM, _interrupt)
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    begun = surroundings(seed)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = list(_results(runner, options, seed))
    if not results:
        sys.exit(f"faults: no fault has {options.only!r} in its name")
    print(f"\n{table(results)}")
    if options.results:
        write_json(options.results, begun, results)
    return int(any(result.failure for result in results))


def _results(runner: asyncio.Runner, options: Options, seed: int) -> Iterator[Result]:
    for fault in faults():
        if options.only in fault.name:
            result = runner.run(run_fault(fault, seed, scale=options.scale))
            print(result.line(), flush=True)
            yield result


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Ends like Ctrl-C does, so that everything that was started is stopped."""
    raise KeyboardInterrupt
