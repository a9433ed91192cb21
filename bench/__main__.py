"""`python -m bench`: every scenario, service and floor in turn, as a table and as JSON."""

import asyncio
import signal
import sys
from types import FrameType

import uvloop

from bench.catalogue import scenarios
from bench.client import Unexpected
from bench.cluster import embedded_cluster
from bench.environment import environment
from bench.options import Options, parse
from bench.processes import raise_open_files_limit
from bench.report import measured, table, write_json
from bench.site import Site


def main() -> None:
    options = parse()
    raise_open_files_limit()
    signal.signal(signal.SIGTERM, _interrupt)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_run(options))
        except Unexpected as problem:
            sys.exit(f"bench: {problem}")


async def _run(options: Options) -> None:
    chosen = scenarios(options)
    if not chosen:
        sys.exit(f"bench: no scenario has {options.only!r} in its name")
    async with embedded_cluster() as cluster:
        site = Site(cluster, options)
        surroundings = await environment(cluster)
        results = [await measured(site, scenario) for scenario in chosen]
    print()
    print(table(results))
    write_json(options.results, surroundings, results)
    print(f"\n{surroundings['cores']} cores, {surroundings['processor']}; written to {options.results}")


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Ends like Ctrl-C does, so that everything that was started is stopped."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
