"""`python -m bench.growth`: one log, measured as it grows, as a table and as JSON. `bench.growth.plot` draws it."""

import argparse
import asyncio
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import uvloop

from bench.cluster import embedded_cluster
from bench.environment import environment
from bench.growth.loading import load
from bench.growth.measurements import measure
from bench.options import parse as bench_options
from bench.processes import raise_open_files_limit
from bench.site import Site

_RESULTS = Path(__file__).parent.parent / "results" / "growth.json"


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.growth", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000], metavar="FACTS")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each timed phase (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="where the JSON goes")
    given = parser.parse_args()
    raise_open_files_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        document = runner.run(_run(given.sizes, given.seconds))
    given.results.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(table(document["sizes"]))


async def _run(sizes: list[int], seconds: float) -> dict[str, Any]:
    async with embedded_cluster() as cluster:
        site = Site(cluster, bench_options(["--seconds", str(seconds)]))
        database = await site.migrated()
        measured: dict[str, dict[str, float]] = {}
        for facts in sorted(sizes):
            started_at = perf_counter()
            await load(cluster.url(database), facts)
            print(f"{perf_counter() - started_at:6.1f} s  loaded to {facts} facts", flush=True)
            async with site.service(database) as target:
                measured[str(facts)] = await measure(site, target, facts)
        return {"environment": await environment(cluster), "sizes": measured}


def table(sizes: dict[str, dict[str, float]]) -> str:
    lines = ["| | " + " | ".join(f"{int(size):,}".replace(",", " ") for size in sizes) + " |"]
    lines.append("| --- |" + " ---: |" * len(sizes))
    for name in next(iter(sizes.values())):
        figures = [figures[name] for figures in sizes.values()]
        lines.append(f"| {name} | " + " | ".join(_figure(figure) for figure in figures) + " |")
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if value >= 100 else f"{value:.2f}"


if __name__ == "__main__":
    main()
