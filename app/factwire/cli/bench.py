"""`factwire bench`: measure a service from this machine: publishing, delivery to a stream, and reading history."""

import argparse
import asyncio
import json
import time
from dataclasses import asdict, dataclass
from typing import Any

import httpx

from factwire.cli.arguments import Parser, add_json, add_url, bounded
from factwire.cli.client import ServiceUnavailable, check, describe_failure
from factwire.cli.exit_codes import Exit, Stopped
from factwire.cli.output import Printer
from factwire.settings import Settings

DELIVERIES = 50
DELIVERY_SECONDS = 30.0
TYPE = "Measured"


EXAMPLE = "factwire bench --publish-in scratch --clients 16 --seconds 5"


def add_arguments(parser: Parser) -> None:
    parser.set_defaults(run=bench)
    parser.add_argument(
        "--publish-in", metavar="NAMESPACE", required=True, help="namespace for the facts; they stay in the log"
    )
    parser.add_argument(
        "--seconds", type=bounded(0.1, 300), default=3.0, help="duration of publishing, and of reading (default: 3)"
    )
    parser.add_argument(
        "--clients", type=bounded(1, 256, whole=True), default=8, help="concurrent publishers (default: 8)"
    )
    parser.add_argument(
        "--payload-bytes", type=bounded(2, 65_536, whole=True), default=200, help="size of each payload (default: 200)"
    )
    add_url(parser)
    add_json(parser)


def bench(options: argparse.Namespace, settings: Settings) -> int:

    try:
        measured = asyncio.run(measure(options, settings))
    except (httpx.HTTPError, ServiceUnavailable, TimeoutError) as error:
        raise Stopped(f"{settings.url}: {describe_failure(error)}", Exit.UNREACHABLE) from None
    Printer(as_json=options.json).result(asdict(measured), measured.summary())
    return Exit.DONE


@dataclass(frozen=True, slots=True)
class BenchResult:
    """Measured rates, and times in milliseconds. They include the overhead of the Python client."""

    clients: int
    publishes_per_second: float
    publish_p50_ms: float
    publish_p99_ms: float
    delivery_p50_ms: float
    delivery_p99_ms: float
    history_facts_per_second: float

    def summary(self) -> str:
        return (
            f"publish   {self.publishes_per_second:10,.0f} a second   p50 {self.publish_p50_ms:.1f} ms"
            f"   p99 {self.publish_p99_ms:.1f} ms   ({self.clients} clients, a fact each)\n"
            f"delivery  {'':10}            p50 {self.delivery_p50_ms:.1f} ms   p99 {self.delivery_p99_ms:.1f} ms"
            "   (from before the publish to its arrival)\n"
            f"history   {self.history_facts_per_second:10,.0f} facts a second, exported"
        )


async def measure(options: argparse.Namespace, settings: Settings) -> BenchResult:
    limits = httpx.Limits(max_connections=options.clients + 2)
    content = json.dumps(
        {"facts": [{"namespace": options.publish_in, "type": TYPE, "payload": "x" * (options.payload_bytes - 2)}]}
    ).encode()
    async with httpx.AsyncClient(
        base_url=settings.url, headers=settings.credentials, timeout=30, limits=limits
    ) as client:
        await publish(client, content)  # a permanent error is raised here, before the measurement
        spent, seconds = await publish_for(client, content, clients=options.clients, seconds=options.seconds)
        delivered = await deliveries(client, options.publish_in, content)
        history = await export_for(client, seconds=options.seconds, namespace=options.publish_in)
    return BenchResult(
        clients=options.clients,
        publishes_per_second=round(len(spent) / seconds, 1),
        publish_p50_ms=milliseconds(spent, 0.5),
        publish_p99_ms=milliseconds(spent, 0.99),
        delivery_p50_ms=milliseconds(delivered, 0.5),
        delivery_p99_ms=milliseconds(delivered, 0.99),
        history_facts_per_second=round(history, 1),
    )


async def publish(client: httpx.AsyncClient, content: bytes) -> dict[str, Any]:
    response = check(await client.post("/v1/facts", content=content, headers={"content-type": "application/json"}))
    result: dict[str, Any] = response.json()
    return result


async def publish_for(
    client: httpx.AsyncClient, content: bytes, *, clients: int, seconds: float
) -> tuple[list[float], float]:
    """Duration of each publish, and total duration."""
    spent: list[float] = []
    began_at = time.monotonic()

    async def keep_publishing() -> None:
        while (sent_at := time.monotonic()) - began_at < seconds:
            await publish(client, content)
            spent.append(time.monotonic() - sent_at)

    await asyncio.gather(*(keep_publishing() for _ in range(clients)))
    return spent, time.monotonic() - began_at


async def deliveries(client: httpx.AsyncClient, namespace: str, content: bytes) -> list[float]:
    """Latency of facts from before the publish to their arrival on a stream, measured one fact after another."""
    arrived: asyncio.Queue[float] = asyncio.Queue()
    parameters = {"namespace": namespace, "type": TYPE, "after": "head"}

    async def listen() -> None:
        async with client.stream("GET", "/v1/stream", params=parameters) as response:
            async for line in response.aiter_lines():
                if line == "event: caught-up" or (line.startswith('data: {"position":') and '"id":' in line):
                    arrived.put_nowait(time.monotonic())

    listening = asyncio.create_task(listen())
    try:
        async with asyncio.timeout(DELIVERY_SECONDS):
            await arrived.get()  # caught up
            spent = []
            for _ in range(DELIVERIES):
                sent_at = time.monotonic()
                await publish(client, content)
                spent.append(await arrived.get() - sent_at)
            return spent
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def export_for(client: httpx.AsyncClient, *, namespace: str, seconds: float) -> float:
    """Facts per second of an export, which is cut off when the time is over."""
    facts, began_at = 0, time.monotonic()
    async with client.stream("GET", "/v1/facts/export", params={"namespace": namespace}) as response:
        async for chunk in response.aiter_bytes():
            facts += chunk.count(b"\n")
            if time.monotonic() - began_at > seconds:
                break
    return facts / (time.monotonic() - began_at)


def milliseconds(spent: list[float], share: float) -> float:
    return round(sorted(spent)[min(len(spent) - 1, int(len(spent) * share))] * 1000, 2)
