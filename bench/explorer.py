"""`python -m bench.explorer`: how long each view of the explorer takes in a browser, with many facts in the log."""

import argparse
import asyncio
import json
from statistics import median

import asyncpg
import uvloop

from bench.cluster import embedded_cluster
from bench.growth.loading import HOT_AGGREGATE_ID, load
from bench.options import parse
from bench.site import Site
from tests.clients.browser import Page, browsing

_REPEAT = 9
# From the click until the view stands there and was painted: the frame behind the one in which it was put in.
_SHOW = """new Promise((shown) => {{
  const main = document.getElementById("main");
  main.replaceChildren();
  const begun = performance.now();
  const painted = () => requestAnimationFrame(() => requestAnimationFrame(() => shown(performance.now() - begun)));
  new MutationObserver((_, observer) => {{
    if (main.querySelector("h1")) {{ observer.disconnect(); painted(); }}
  }}).observe(main, {{ childList: true, subtree: true }});
  const hash = {view};
  if (location.hash === hash) dispatchEvent(new Event("hashchange")); else location.hash = hash;
}})"""


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.explorer", description=__doc__)
    parser.add_argument("--facts", type=int, default=1_000_000)
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(runner.run(_table(given.facts)))


async def _table(facts: int) -> str:
    async with embedded_cluster() as cluster:
        site = Site(cluster, parse([]))
        database = await site.migrated()
        head = await load(cluster.url(database), facts)
        await _fold(cluster.url(database))
        async with site.service(database) as target, browsing(f"http://127.0.0.1:{target.port}/") as page:
            await page.until("document.querySelector('main h1')")
            lines = [f"| view, {head} facts | median, ms | longest, ms |", "| --- | --- | --- |"]
            for name, view in _views(head).items():
                times = [await _milliseconds(page, view) for _ in range(_REPEAT)]
                lines.append(f"| {name} | {median(times):.0f} | {max(times):.0f} |")
            return "\n".join(lines)


async def _fold(url: str) -> None:
    """Count what was loaded past the service, which it would have done meanwhile, a part each second."""
    connection = await asyncpg.connect(url)
    while await connection.fetchval("select factwire.fold_counts(50000)"):
        pass
    await connection.close()


async def _milliseconds(page: Page, view: str) -> float:
    return float(await page.run(_SHOW.format(view=json.dumps(view))))


def _views(head: int) -> dict[str, str]:
    return {
        "overview": "#/",
        "search for everything, the newest first": "#/search?q=",
        "search for one type of 24": "#/search?q=type%3DType07",
        "search for two keys": "#/search?q=aggregate_id%3Dcustomer-0043%20meta%3Dtenant%3Atenant-07",
        "search for what does not exist": "#/search?q=type%3DNone",
        "search as of the middle of the log": f"#/search?q=type%3DType07&at={head // 2}",
        "aggregate of 100 000 facts": f"#/aggregate/{HOT_AGGREGATE_ID}",
        "fact": f"#/fact/{head // 2}",
        "live": "#/live",
        "open streams": "#/streams",
        "health": "#/health",
    }


if __name__ == "__main__":
    main()
