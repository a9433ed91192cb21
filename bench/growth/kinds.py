"""`python -m bench.growth.kinds`: what finding costs as a log has more namespaces and types, as a table and as JSON.

Every log has as many facts; they differ in how many namespaces and types these are of. A tenth is of `payroll`.
"""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import asyncpg
import httpx
import uvloop
from uuid_utils import uuid7

from bench.client import Unexpected
from bench.cluster import embedded_cluster
from bench.environment import environment
from bench.growth.figures import Figure, table
from bench.measuring import percentile
from bench.options import parse
from bench.processes import Target, python
from bench.site import Site, run_to_end
from factwire.domain.fact import NewFact, new_fact
from factwire.domain.limits import Limits
from factwire.store.append import append
from factwire.store.catalogue import fold_counts

_RESULTS = Path(__file__).parent.parent / "results" / "kinds.json"
_FACTS, _CALL_FACTS = 200_000, 1_000
_REPEAT = 60
_START_SECONDS, _BESIDE_SECONDS, _WORST_CLIENTS, _PAUSE_SECONDS = 2.0, 8.0, 8, 0.01
_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Shape:
    """So many namespaces, and so many types that each of them uses."""

    namespaces: int
    types: int

    @property
    def kinds(self) -> int:
        return self.namespaces * self.types


SHAPES = (Shape(10, 10), Shape(1_000, 10), Shape(50_000, 2), Shape(10, 10_000))
READERS = {"everything": "", "*": "*", "tenant.*": "tenant.*", "*,!payroll": "*,!payroll", "one": "tenant.00003"}

# Each begins at a place that has nothing to do with how many kinds there are.
PAGES = {
    "of an aggregate": "aggregate_id=order-1003",
    "of a namespace": "namespace=tenant.00003&limit=100",
    "of a namespace and a type": "namespace=tenant.00003&type=T00001&limit=100",
    "of a type that is rare": "type=Rare",
    "of a type without facts": "type=Never",
    "newest 10": "limit=10&order=desc",
}
CONDITIONS = {
    "by aggregate and type": {"aggregate_ids": ["order-1003"], "types": ["Never"]},
    "by namespace and type": {"namespaces": ["tenant.00003"], "types": ["Never"]},
    "by type": {"types": ["Never"]},
}


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.growth.kinds", description=__doc__)
    parser.add_argument("--results", type=Path, default=_RESULTS, help="where the JSON goes")
    given, others = parser.parse_known_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        document = runner.run(_run(others, given.results))
    print(table(document["sizes"]))


async def _run(others: list[str], results: Path) -> dict[str, Any]:
    async with embedded_cluster() as cluster:
        site = Site(cluster, parse(others))
        document: dict[str, Any] = {"environment": await environment(cluster), "sizes": {}}
        for shape in SHAPES:
            async with site.log() as database:
                await _load(cluster.url(database), shape)
                keys = {name: await _key(cluster.url(database), read) for name, read in READERS.items()}
                async with site.service(database, auth="keys") as target:
                    figures = await _measure(target, keys)
            name = f"{shape.kinds} kinds, {shape.namespaces} namespaces"
            document["sizes"][name] = figures
            print(name, flush=True)
            _write(results, document)
        return document


def _write(results: Path, document: dict[str, Any]) -> None:
    results.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


async def _load(url: str, shape: Shape) -> None:
    connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
    try:
        await connection.execute("set synchronous_commit = off")
        for first in range(0, _FACTS, _CALL_FACTS):
            await append(connection, [([_fact(shape, first + n) for n in range(_CALL_FACTS)], None)])
        await append(connection, [([_new("tenant.00003", "Rare", "order-1003")], None)])
        await fold_counts(connection, facts_max=2 * _FACTS)
        await connection.execute("vacuum (analyze)")
        await connection.execute("checkpoint")
    finally:
        await connection.close()


def _fact(shape: Shape, number: int) -> NewFact:
    if number % 10 == 0:
        return _new("payroll", "Paid", f"person-{number % 1000}")
    namespace, use = number % shape.namespaces, number // shape.namespaces
    return _new(f"tenant.{namespace:05}", f"T{use % shape.types:05}", f"order-{number}")


def _new(namespace: str, type: str, aggregate_id: str) -> NewFact:
    return new_fact(
        id=str(uuid7()),
        namespace=namespace,
        type=type,
        version=1,
        aggregate_ids=[aggregate_id],
        meta={},
        payload=b'{"note":"larch maple oak pine rowan"}',
        limits=_LIMITS,
        chosen_id=False,
    )


async def _key(url: str, read: str) -> str:
    grants = ["--read", read] if read else ["--read", "*,factwire", "--manage", "*"]
    command = python("factwire", "keys", "create", "bench", "--publish", "*", *grants)
    return (await run_to_end(command, {"FACTWIRE_DATABASE_URL": url})).decode().strip()


async def _measure(target: Target, keys: dict[str, str]) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    base = f"http://127.0.0.1:{target.port}"
    for reader, key in keys.items():
        async with httpx.AsyncClient(
            base_url=base, headers={"authorization": f"Bearer {key}"}, timeout=60, trust_env=False
        ) as client:
            for name, filters in PAGES.items():
                ask = partial(client.get, f"/v1/facts?{filters}")
                figures[f"Read by {reader}: a page {name}, ms"] = await _time(ask)
            for name, item in CONDITIONS.items():
                publish = partial(client.post, "/v1/facts", json=_publication({"fail_if_match": [item]}))
                figures[f"Read by {reader}: a publish on a condition {name}, ms"] = await _time(publish)
            figures[f"Read by {reader}: names, ms"] = await _time(partial(client.get, "/v1/namespaces"))
            figures[f"Read by {reader}: a stream catches up, facts/s"] = {"service": await _catch_up(client)}
    async with httpx.AsyncClient(
        base_url=base, headers={"authorization": f"Bearer {keys['one']}"}, timeout=60, trust_env=False
    ) as client:
        for reader in ("tenant.*", "*,!payroll"):
            figures[f"Read by {reader}: what others publish beside the worst, p99 ms"] = {
                "service": await _beside(client, base, keys[reader])
            }
    return figures


async def _time(ask: Callable[[], Awaitable[httpx.Response]]) -> Figure:
    seconds = []
    for _ in range(_REPEAT):
        began_at = perf_counter()
        response = await ask()
        seconds.append(perf_counter() - began_at)
        if response.status_code not in (200, 201):
            raise Unexpected(f"{response.status_code}: {response.text[:400]}")
    return {"service": median(seconds) * 1e3}


def _publication(condition: dict[str, Any] | None = None) -> dict[str, Any]:
    fact = {"namespace": "bench", "type": "Noted", "aggregate_ids": ["bench"], "payload": None}
    return {"facts": [fact], **({"condition": condition} if condition else {})}


async def _catch_up(client: httpx.AsyncClient) -> float:
    """Everything that may be read, from the start."""
    began_at, facts, rest = perf_counter(), 0, b""
    async with client.stream("GET", "/v1/stream") as response:
        async for chunk in response.aiter_raw():
            rest = rest[-64:] + chunk
            facts += chunk.count(b'"published_at":')
            if b"event: caught-up" in rest:
                break
    return facts / (perf_counter() - began_at)


async def _beside(client: httpx.AsyncClient, base: str, key: str) -> float:
    """How long one publish takes at most, in 99 of 100, while clients of another key ask for the most laborious."""
    context = get_context("spawn")
    others = context.Process(target=_ask_for_the_worst, args=(base, key), daemon=True)
    others.start()
    try:
        await asyncio.sleep(_START_SECONDS)
        seconds, ends_at = [], perf_counter() + _BESIDE_SECONDS
        while perf_counter() < ends_at:
            began_at = perf_counter()
            (await client.post("/v1/facts", json=_publication())).raise_for_status()
            seconds.append(perf_counter() - began_at)
            await asyncio.sleep(_PAUSE_SECONDS)
    finally:
        others.kill()
        await asyncio.to_thread(others.join)
    return percentile(sorted(seconds), 0.99) * 1e3


def _ask_for_the_worst(base: str, key: str) -> None:
    """Searches for what is not there, large pages, and conditions of many items, until killed."""
    never = {"items": [{"types": [f"Never{n}" for n in range(100)]} for _ in range(10)]}
    condition = {"fail_if_match": [{"meta": {"none": "none"}, "types": ["T00001"]} for _ in range(10)]}
    requests = (
        ("/v1/facts/search", json.dumps(never)),
        ("/v1/facts/search?order=desc&limit=1000", json.dumps({"items": [{"types": ["T00001"]}]})),
        ("/v1/facts", json.dumps(_publication(condition))),
    )
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60, trust_env=False) as other:
            for path, body in cycle(requests):
                (await other.post(path, content=body)).raise_for_status()

    async def run() -> None:
        await asyncio.gather(*[ask() for _ in range(_WORST_CLIENTS)])

    uvloop.run(run())


if __name__ == "__main__":
    main()
