"""Phases over raw connections: uvloop, prebuilt requests, only as much parsing as is needed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from time import perf_counter
from typing import Any, TypeVar, cast

import uvloop

from bench.client import garbage_collection_off
from bench.facts import SEQUENCE_DIGITS, SEQUENCE_MARKER
from bench.measuring import until
from bench.peers.job import (
    DELIVERY_SECONDS_MAX,
    FACTS_PER_SECOND,
    PUBLISHERS,
    REQUESTS_AHEAD_MAX,
    Job,
    Outcome,
    Wrong,
    latency_outcome,
)
from bench.peers.workload import FACT_MARKER

_ANSWER_SECONDS_MAX = 60.0

Found = TypeVar("Found")
AnswerEnd = Callable[[bytes], int]


class Connection(asyncio.Protocol):
    """Hands each complete answer to `answered`; `answer_end` gives its length, or -1, and refuses a wrong one."""

    def __init__(self, answer_end: AnswerEnd, answered: Callable[["Connection", bytes], None]) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answer_end = answer_end
        self.answered = answered
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        try:
            while received and (end := self._answer_end(received)) > 0:
                answer, received = received[:end], received[end:]
                self.answered(self, answer)
        except Exception as problem:
            self._end(problem)
        self._received = received

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(None)

    def send(self, request: bytes) -> None:
        self._transport.write(request)

    def close(self) -> None:
        self._transport.abort()

    def _end(self, problem: Exception | None) -> None:
        if self.lost.done():
            return
        if problem:
            self.lost.set_exception(problem)
            self._transport.abort()
        else:
            self.lost.set_result(None)


class Asking:
    """Answers in the order of the requests, on one connection."""

    def __init__(self) -> None:
        self.connection: Connection
        self._waiting: list[asyncio.Future[bytes]] = []

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self.connection.send(request)
        return waiting

    def answered(self, _: Connection, answer: bytes) -> None:
        self._waiting.pop(0).set_result(answer)

    def lost(self, connection: "asyncio.Future[None]") -> None:
        problem = connection.exception() or Wrong("the server closed a connection")
        for waiting in self._waiting:
            waiting.set_exception(problem)


async def connect(port: int, answer_end: AnswerEnd, answered: Callable[[Connection, bytes], None]) -> Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(partial(Connection, answer_end, answered), "127.0.0.1", port)
    return connection


async def open_asking(port: int, answer_end: AnswerEnd) -> Asking:
    asking = Asking()
    asking.connection = await connect(port, answer_end, asking.answered)
    asking.connection.lost.add_done_callback(asking.lost)
    return asking


def run(phase: Callable[[Job], Coroutine[Any, Any, Found]], job: Job) -> Found:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, garbage_collection_off():
        return runner.run(phase(job))


async def closed_loops(
    job: Job, port: int, answer_end: AnswerEnd, request_of: Callable[[int], Callable[[], bytes]]
) -> Outcome:
    """Connections that send their next request as soon as the last one is answered; `stored` is left to the caller."""
    answered = 0
    ending = asyncio.Event()

    def work(next_request: Callable[[], bytes]) -> Callable[[Connection, bytes], None]:
        def on_answer(connection: Connection, _: bytes) -> None:
            nonlocal answered
            answered += 1
            if ending.is_set():
                connection.close()
            else:
                connection.send(next_request())

        return on_answer

    requests = [request_of(number) for number in range(job.clients)]
    connections = [await connect(port, answer_end, work(each)) for each in requests]
    for connection, next_request in zip(connections, requests, strict=True):
        connection.send(next_request())
    count, seconds = await window(lambda: answered, job)
    ending.set()
    async with asyncio.timeout(_ANSWER_SECONDS_MAX):
        await asyncio.gather(*(connection.lost for connection in connections))
    return Outcome(count * job.facts_per_request, seconds, answered * job.facts_per_request)


async def history(job: Job, pages: Callable[[], AsyncIterator[int]]) -> Outcome:
    """Reads everything again and again; the first time, to see that it is all there."""
    whole = sum([page async for page in pages()])
    if whole != job.facts:
        raise Wrong(f"{whole} facts of {job.facts} were read")
    facts, started_at = 0, perf_counter()
    while (seconds := perf_counter() - started_at) < job.seconds:
        async for page in pages():
            facts += page
            if (seconds := perf_counter() - started_at) >= job.seconds:
                break
    return Outcome(facts, seconds, job.facts, whole)


class Deliveries:
    """Counts the facts that all subscribers received, and takes the time of numbered ones."""

    def __init__(self, job: Job) -> None:
        self.count = 0
        self.sent_at = [0.0] * job.paced_facts
        self.latencies = [-1.0] * job.paced_facts
        self._job = job
        self._published = 0
        self._room = asyncio.Event()

    def see(self, received: bytes) -> None:
        """Whole facts only: a fact that is split between two calls is not found."""
        self.count += received.count(FACT_MARKER)
        if self._ahead() < REQUESTS_AHEAD_MAX:
            self._room.set()

    def see_numbers(self, received: bytes) -> None:
        received_at = perf_counter()
        at = received.find(SEQUENCE_MARKER)
        while at >= 0:
            digits_at = at + len(SEQUENCE_MARKER)
            number = int(received[digits_at : digits_at + SEQUENCE_DIGITS])
            self.latencies[number] = received_at - self.sent_at[number]
            self.count += 1
            at = received.find(SEQUENCE_MARKER, digits_at)

    async def fan_out(self, publish: Callable[[], Awaitable[object]]) -> Outcome:
        """Publishers stay a little ahead of the deliveries, averaged over the subscribers."""
        ending = asyncio.Event()
        publishers = [asyncio.create_task(self._publish(publish, ending)) for _ in range(PUBLISHERS)]
        deliveries, seconds = await window(lambda: self.count, self._job)
        ending.set()
        self._room.set()
        async with asyncio.timeout(DELIVERY_SECONDS_MAX):
            await asyncio.gather(*publishers)
        expected = self._published * self._job.subscribers
        await until(lambda: self.count >= expected, seconds=DELIVERY_SECONDS_MAX, what=f"{expected} deliveries")
        return Outcome(deliveries, seconds, expected, self.count)

    async def live(self, send: Callable[[int], object]) -> Outcome:
        """At a fixed rate, whatever the answers do; the clock of a fact starts when it is sent."""
        started_at = perf_counter()
        for number in range(self._job.paced_facts):
            await asyncio.sleep(started_at + number / FACTS_PER_SECOND - perf_counter())
            self.sent_at[number] = perf_counter()
            send(number)
        await until(lambda: min(self.latencies) >= 0, seconds=DELIVERY_SECONDS_MAX, what="every delivery")
        return latency_outcome(self.latencies, self._job)

    async def _publish(self, publish: Callable[[], Awaitable[object]], ending: asyncio.Event) -> None:
        while not ending.is_set():
            while self._ahead() >= REQUESTS_AHEAD_MAX and not ending.is_set():
                self._room.clear()
                async with asyncio.timeout(DELIVERY_SECONDS_MAX):
                    await self._room.wait()
            self._published += 1
            await publish()

    def _ahead(self) -> float:
        return self._published - self.count / self._job.subscribers


async def window(count: Callable[[], int], job: Job) -> tuple[int, float]:
    """How much `count` grew in the timed window, and how long that was."""
    await asyncio.sleep(job.warm_up_seconds)
    before, started_at = count(), perf_counter()
    await asyncio.sleep(job.seconds)
    return count() - before, perf_counter() - started_at
