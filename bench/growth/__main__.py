"""`python -m bench.growth`: every scenario on one log as it grows, as a table and as JSON."""

import argparse
import asyncio
import json
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import uvloop

from bench.catalogue import scenarios
from bench.cluster import embedded_cluster
from bench.environment import environment
from bench.growth.figures import figures_of, table
from bench.growth.loading import load
from bench.growth.pages import page_milliseconds
from bench.growth.site import GrownSite
from bench.options import Options, parse
from bench.processes import raise_open_files_limit
from bench.report import measured
from bench.site import Site

_RESULTS = Path(__file__).parent.parent / "results" / "growth.json"
_IDLE_SECONDS = 8.0


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.growth", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000], metavar="FACTS")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="where the JSON goes")
    given, others = parser.parse_known_args()
    options = replace(parse(["--seconds", "1", "--repeat", "3", *others]), idle_seconds=_IDLE_SECONDS)
    raise_open_files_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        document = runner.run(_run(given.sizes, options, given.results))
    print(table(document["sizes"]))


async def _run(sizes: list[int], options: Options, results: Path) -> dict[str, Any]:
    """What is measured is written after each size, as the largest takes its time."""
    async with embedded_cluster() as cluster:
        database = await Site(cluster, options).migrated()
        document: dict[str, Any] = {"environment": await environment(cluster), "sizes": {}}
        for facts in sorted(sizes):
            started_at = perf_counter()
            head = await load(cluster.url(database), facts)
            print(f"{perf_counter() - started_at:6.1f} s  loaded to {head} facts", flush=True)
            site = GrownSite(cluster, options, database, head)
            document["sizes"][str(facts)] = await _measure(site, database, head)
            _write(results, document)
        return document


async def _measure(site: GrownSite, database: str, facts: int) -> dict[str, Any]:
    async with site.service(database) as target:
        pages = await page_milliseconds(target, facts)
    return figures_of([await measured(site, scenario) for scenario in scenarios(site.options)], pages)


def _write(results: Path, document: dict[str, Any]) -> None:
    results.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
