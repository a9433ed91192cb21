"""The Durable Streams protocol over raw HTTP: JSON streams, an array for a batch, event streams for subscribers."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import cycle, islice

from bench.peers.drivers.http import accepted_end, post, subscribe
from bench.peers.drivers.tasks import Deliveries, closed_loops, open_asking, run
from bench.peers.drivers.tasks import history as read_history
from bench.peers.job import PAGE_FACTS, Job, Outcome, answer
from bench.peers.workload import FACT_MARKER, Fact, batches, facts, numbered_facts

_READ_BYTES = 256 * 1024
_READ_SECONDS_MAX = 60.0


def publish(job: Job) -> Outcome:
    return run(_publish, job)


def history(job: Job) -> Outcome:
    return run(_history, job)


def fan_out(job: Job) -> Outcome:
    return run(_fan_out, job)


def live(job: Job) -> Outcome:
    return run(_live, job)


async def _publish(job: Job) -> Outcome:
    await _create(job)
    prepared = list(islice(batches(job.facts_per_request), max(32, 4096 // job.facts_per_request)))

    def requests(number: int) -> Callable[[], bytes]:
        return cycle([_append(batch, number % job.streams) for batch in prepared]).__next__

    outcome = await closed_loops(job, int(job.address), accepted_end, requests)
    stored = 0
    for number in range(job.streams):
        async for count in _read(job, number):
            stored += count
    return dataclasses.replace(outcome, stored=stored)


async def _history(job: Job) -> Outcome:
    await _create(job)
    asking = await open_asking(int(job.address), accepted_end)
    for batch in islice(batches(PAGE_FACTS), job.facts // PAGE_FACTS):
        await asking.ask(_append(batch))
    return await read_history(job, lambda: _read(job, 0))


async def _fan_out(job: Job) -> Outcome:
    await _create(job)
    deliveries = Deliveries(job)
    await subscribe(int(job.address), f"{_target(0)}?offset=now&live=sse", job.subscribers, deliveries.see)
    asking = await open_asking(int(job.address), accepted_end)
    prepared = cycle([_append([fact]) for fact in facts()])
    return await deliveries.fan_out(lambda: asking.ask(next(prepared)))


async def _live(job: Job) -> Outcome:
    await _create(job)
    deliveries = Deliveries(job)
    prepared = [_append([fact]) for fact in numbered_facts(job.paced_facts)]
    await subscribe(int(job.address), f"{_target(0)}?offset=now&live=sse", 1, deliveries.see_numbers)
    asking = await open_asking(int(job.address), accepted_end)
    return await deliveries.live(lambda number: asking.ask(prepared[number]))


async def _create(job: Job) -> None:
    asking = await open_asking(int(job.address), accepted_end)
    for number in range(job.streams):
        await asking.ask(post(_target(number), b"", method="PUT"))


async def _read(job: Job, stream: int) -> AsyncIterator[int]:
    """The whole stream is one answer; its facts are counted as its bytes come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(job.address), limit=_READ_BYTES)
    writer.write(f"GET {_target(stream)}?offset=-1 HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
    tail = b""
    async with asyncio.timeout(_READ_SECONDS_MAX):
        while chunk := await reader.read(_READ_BYTES):
            seen = tail + chunk
            tail = seen[1 - len(FACT_MARKER) :]
            yield seen.count(FACT_MARKER)
    writer.close()


def _append(batch: Sequence[Fact], stream: int = 0) -> bytes:
    documents = b",".join(fact.document for fact in batch)
    return post(_target(stream), documents if len(batch) == 1 else b"[" + documents + b"]")


def _target(stream: int) -> str:
    return f"/facts-{stream}"


if __name__ == "__main__":
    answer({"publish": publish, "history": history, "fan_out": fan_out, "live": live})
