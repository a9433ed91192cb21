"""Phases for client libraries that block: a thread for each client and for each subscriber."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from time import perf_counter
from typing import Generic, Protocol, TypeVar

from bench.facts import SEQUENCE_DIGITS, SEQUENCE_MARKER
from bench.peers.job import (
    DELIVERY_SECONDS_MAX,
    FACTS_PER_SECOND,
    PUBLISHERS,
    REQUESTS_AHEAD_MAX,
    Job,
    Outcome,
    Phase,
    Wrong,
    latency_outcome,
)
from bench.peers.workload import Fact, batches, numbered_facts

_DISTINCT_FACTS = 4096
_LOADED_PER_REQUEST = 1000
_PACED_THREADS = 4

Batch = TypeVar("Batch")


class Client(Protocol[Batch]):
    """A client library as the phases use it."""

    def prepare(self, facts: Sequence[Fact]) -> Batch:
        """What `append` takes, so that the timed loop only sends."""

    def append(self, batch: Batch) -> None: ...

    def stored(self) -> int: ...

    def pages(self) -> Iterator[int]:
        """Reads everything once; the number of facts of each page."""

    def deliveries(self) -> Iterator[Sequence[bytes]]:
        """The documents of what is published from the first step on, as they come."""


class Phases(Generic[Batch]):
    """`connect` makes the client of one thread."""

    def __init__(self, connect: Callable[[Job], Client[Batch]]) -> None:
        self._connect = connect

    def table(self) -> dict[Phase, Callable[[Job], Outcome]]:
        return {"publish": self.publish, "history": self.history, "fan_out": self.fan_out, "live": self.live}

    def publish(self, job: Job) -> Outcome:
        answered = [0] * job.clients
        ending = threading.Event()

        prepared = self._prepared(job)

        def work(number: int) -> None:
            client = self._connect(job)
            while not ending.is_set():
                client.append(prepared[(number + answered[number]) % len(prepared)])
                answered[number] += 1

        with ThreadPoolExecutor(job.clients) as threads:
            working = [threads.submit(work, number) for number in range(job.clients)]
            try:
                requests, seconds = window(lambda: sum(answered), job)
            finally:
                ending.set()
            for one in working:
                one.result()
        stored = self._connect(job).stored()
        return Outcome(requests * job.facts_per_request, seconds, sum(answered) * job.facts_per_request, stored)

    def history(self, job: Job) -> Outcome:
        client = self._connect(job)
        for batch in islice(batches(_LOADED_PER_REQUEST), job.facts // _LOADED_PER_REQUEST):
            client.append(client.prepare(batch))
        if (whole := sum(client.pages())) != job.facts:
            raise Wrong(f"{whole} facts of {job.facts} were read")
        facts, started_at = 0, perf_counter()
        while (seconds := perf_counter() - started_at) < job.seconds:
            for page in client.pages():
                facts += page
                if (seconds := perf_counter() - started_at) >= job.seconds:
                    break
        return Outcome(facts, seconds, job.facts, whole)

    def fan_out(self, job: Job) -> Outcome:
        published, delivered = [0] * PUBLISHERS, [0] * job.subscribers
        ending = threading.Event()
        following = threading.Barrier(job.subscribers + 1)
        prepared = self._prepared(job)

        def subscribe(number: int) -> None:
            deliveries = self._connect(job).deliveries()
            following.wait()
            for documents in deliveries:
                delivered[number] += len(documents)

        def publish(number: int) -> None:
            client = self._connect(job)
            while not ending.is_set():
                if sum(published) - sum(delivered) / job.subscribers >= REQUESTS_AHEAD_MAX:
                    time.sleep(0.0002)
                    continue
                published[number] += 1
                client.append(prepared[published[number] % len(prepared)])

        _start(subscribe, job.subscribers)
        following.wait()
        publishers = _start(publish, PUBLISHERS)
        deliveries, seconds = window(lambda: sum(delivered), job)
        ending.set()
        for publisher in publishers:
            publisher.join(DELIVERY_SECONDS_MAX)
        wait_until(lambda: sum(delivered) >= sum(published) * job.subscribers)
        return Outcome(deliveries, seconds, sum(published) * job.subscribers, sum(delivered))

    def live(self, job: Job) -> Outcome:
        client = self._connect(job)
        sent_at = [0.0] * job.paced_facts
        latencies = [-1.0] * job.paced_facts
        following = threading.Event()

        def subscribe(_: int) -> None:
            deliveries = self._connect(job).deliveries()
            following.set()
            for documents in deliveries:
                received_at = perf_counter()
                for document in documents:
                    number = sequence(document)
                    latencies[number] = received_at - sent_at[number]

        def send(batch: Batch, number: int) -> None:
            sent_at[number] = perf_counter()
            client.append(batch)

        prepared = [client.prepare([fact]) for fact in numbered_facts(job.paced_facts)]
        _start(subscribe, 1)
        following.wait(DELIVERY_SECONDS_MAX)
        time.sleep(0.5)  # a subscription has no word for having caught up
        with ThreadPoolExecutor(_PACED_THREADS) as threads:
            started_at = perf_counter()
            for number, batch in enumerate(prepared):
                time.sleep(max(0.0, started_at + number / FACTS_PER_SECOND - perf_counter()))
                threads.submit(send, batch, number)
        wait_until(lambda: min(latencies) >= 0)
        if min(latencies) < 0:
            raise Wrong(f"{sum(each < 0 for each in latencies)} facts were not delivered")
        return latency_outcome(latencies, job)

    def _prepared(self, job: Job) -> list[Batch]:
        client = self._connect(job)
        distinct = max(32, _DISTINCT_FACTS // job.facts_per_request)
        return [client.prepare(batch) for batch in islice(batches(job.facts_per_request), distinct)]


def window(count: Callable[[], int], job: Job) -> tuple[int, float]:
    """How much `count` grew in the timed window, and how long that was."""
    time.sleep(job.warm_up_seconds)
    before, started_at = count(), perf_counter()
    time.sleep(job.seconds)
    return count() - before, perf_counter() - started_at


def wait_until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DELIVERY_SECONDS_MAX
    while not claim() and time.monotonic() < deadline:
        time.sleep(0.01)


def sequence(document: bytes) -> int:
    at = document.index(SEQUENCE_MARKER) + len(SEQUENCE_MARKER)
    return int(document[at : at + SEQUENCE_DIGITS])


def _start(work: Callable[[int], None], count: int) -> list[threading.Thread]:
    # Daemons: a subscription that waits for ever must not keep the process.
    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads
