"""`python -m bench.peers`: Factwire, its floor and the installed peers in one run, as a table and as JSON."""

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from types import FrameType

import uvloop

from bench.cluster import embedded_cluster
from bench.environment import environment
from bench.peers import (
    durable_streams,
    emmett,
    eventsourcing,
    message_db,
    nchan,
    ours,
    redis_streams,
    umadb,
)
from bench.peers.columns import Row, table
from bench.peers.options import PeerOptions, parse
from bench.peers.peer import measure
from bench.peers.place import Place, new_directory
from bench.peers.workload import write_workload
from bench.processes import raise_open_files_limit

_PEERS = tuple(
    module.PEER for module in (umadb, redis_streams, message_db, eventsourcing, emmett, durable_streams, nchan)
)
_STORES: dict[str, Callable[[Place], Awaitable[Row]]] = {
    **{name: partial(ours.measure, name) for name in (ours.FLOOR, ours.FACTWIRE)},
    **{peer.name: partial(measure, peer) for peer in _PEERS},
}


def main() -> None:
    options = parse()
    raise_open_files_limit()
    signal.signal(signal.SIGTERM, _interrupt)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(options))


async def _run(options: PeerOptions) -> None:
    chosen = {name: measured for name, measured in _STORES.items() if options.only.lower() in name.lower()}
    if not chosen:
        sys.exit(f"bench.peers: no store has {options.only!r} in its name; there are {', '.join(_STORES)}")
    started_at = perf_counter()
    with new_directory() as directory:
        workload = directory / "workload.json"
        write_workload(workload, int(100 * (options.seconds + options.warm_up_seconds)))
        async with embedded_cluster() as cluster:
            surroundings = await environment(cluster)
            place = Place(cluster, options, workload)
            rows = [await _row(name, measured, place) for name, measured in chosen.items()]
    surroundings["seconds_in_all"] = round(perf_counter() - started_at, 1)
    print(f"\n{table(rows)}")
    document = {"environment": surroundings, "rows": [row.as_json() for row in rows]}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"\nfacts/s; {surroundings['cores']} cores, {surroundings['processor']}; written to {options.results}")


async def _row(name: str, measured: Callable[[Place], Awaitable[Row]], place: Place) -> Row:
    started_at = perf_counter()
    row = await measured(place)
    print(f"{perf_counter() - started_at:6.1f} s  {name}", file=sys.stderr, flush=True)
    return row


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Ends like Ctrl-C does, so that everything that was started is stopped."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
