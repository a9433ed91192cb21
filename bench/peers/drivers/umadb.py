"""The Python client of UmaDB: prebuilt events over gRPC; all threads share one client, which is fastest."""

import os
from collections.abc import Iterator, Sequence
from functools import cache

import umadb

from bench.peers.drivers.threads import Phases
from bench.peers.job import PAGE_FACTS, Job, answer
from bench.peers.workload import Fact


class UmaDb:
    def __init__(self, job: Job) -> None:
        self._client = _client(job.address)

    def prepare(self, facts: Sequence[Fact]) -> list[umadb.Event]:
        return [umadb.Event(fact.type, fact.document, list(fact.tags)) for fact in facts]

    def append(self, batch: list[umadb.Event]) -> None:
        self._client.append(batch)

    def stored(self) -> int:
        return self._client.head() or 0

    def pages(self) -> Iterator[int]:
        reading = self._client.read()
        while page := reading.next_batch():
            yield len(page)

    def deliveries(self) -> Iterator[Sequence[bytes]]:
        subscription = self._client.subscribe(after=self._client.head())
        return iter(lambda: [each.event.data for each in subscription.next_batch()], [])


@cache
def _client(address: str) -> umadb.Client:
    return umadb.Client(address, batch_size=PAGE_FACTS)


if __name__ == "__main__":
    answer(Phases(UmaDb).table())
    os._exit(0)  # without waiting for subscriptions that never end
