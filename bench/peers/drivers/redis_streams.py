"""Redis Streams over RESP: prebuilt XADD, a transaction for a batch, XRANGE by pages, blocking XREAD for subscribers.

A PING follows each read: its answer marks the end of the one before without parsing it.
"""

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from itertools import cycle, islice

from bench.peers.drivers.tasks import AnswerEnd, Asking, Connection, Deliveries, closed_loops, connect, open_asking, run
from bench.peers.drivers.tasks import history as read_history
from bench.peers.job import PAGE_FACTS, Job, Outcome, Wrong, answer
from bench.peers.workload import FACT_MARKER, Fact, batches, facts, numbered_facts

_STREAM = b"facts"
_PONG = b"+PONG\r\n"
_PING = b"*1\r\n$4\r\nPING\r\n"
_ENTRY_FIELDS = b"\r\n*6\r\n$4\r\ntype\r\n"
_READ_AT_ONCE = 100


def publish(job: Job) -> Outcome:
    return run(_publish, job)


def history(job: Job) -> Outcome:
    return run(_history, job)


def fan_out(job: Job) -> Outcome:
    return run(_fan_out, job)


def live(job: Job) -> Outcome:
    return run(_live, job)


async def _publish(job: Job) -> Outcome:
    port = int(job.address)
    prepared = [_add(batch) for batch in islice(batches(job.facts_per_request), max(32, 4096 // job.facts_per_request))]
    outcome = await closed_loops(job, port, _added_end(job.facts_per_request), lambda _: cycle(prepared).__next__)
    asking = await open_asking(port, _line_end)
    stored = await asking.ask(_command(b"XLEN", _STREAM))
    return dataclasses.replace(outcome, stored=int(stored[1:-2]))


async def _history(job: Job) -> Outcome:
    asking = await open_asking(int(job.address), _added_end(PAGE_FACTS))
    for batch in islice(batches(PAGE_FACTS), job.facts // PAGE_FACTS):
        await asking.ask(_add(batch))
    reading = await open_asking(int(job.address), _pong_end)
    return await read_history(job, lambda: _pages(reading))


async def _pages(reading: Asking) -> AsyncIterator[int]:
    after = b"-"
    while True:
        page = await reading.ask(_command(b"XRANGE", _STREAM, after, b"+", b"COUNT", b"%d" % PAGE_FACTS) + _PING)
        if not (count := page.count(FACT_MARKER)):
            return
        yield count
        after = b"(" + _last_id(page)


async def _fan_out(job: Job) -> Outcome:
    deliveries = Deliveries(job)
    await _subscribe(job, deliveries.see)
    asking = await open_asking(int(job.address), _added_end(1))
    prepared = cycle([_add([fact]) for fact in facts()])
    return await deliveries.fan_out(lambda: asking.ask(next(prepared)))


async def _live(job: Job) -> Outcome:
    deliveries = Deliveries(job)
    prepared = [_add([fact]) for fact in numbered_facts(job.paced_facts)]
    await _subscribe(job, deliveries.see_numbers)
    asking = await open_asking(int(job.address), _added_end(1))
    return await deliveries.live(lambda number: asking.ask(prepared[number]))


async def _subscribe(job: Job, see: Callable[[bytes], None]) -> None:
    """The answer to a read holds the id after which the next one goes on."""

    def on_answer(connection: Connection, page: bytes) -> None:
        connection.send(_read(_last_id(page)))
        see(page)

    for _ in range(job.subscribers):
        connection = await connect(int(job.address), _pong_end, on_answer)
        connection.send(_read(b"0"))


def _add(batch: Sequence[Fact]) -> bytes:
    added = [
        _command(b"XADD", _STREAM, b"*", *_fields(fact.type.encode(), " ".join(fact.tags).encode(), fact.document))
        for fact in batch
    ]
    return added[0] if len(added) == 1 else b"".join([_command(b"MULTI"), *added, _command(b"EXEC")])


def _fields(type: bytes, tags: bytes, document: bytes) -> Iterable[bytes]:
    return (b"type", type, b"tags", tags, b"document", document)


def _read(after: bytes) -> bytes:
    return _command(b"XREAD", b"COUNT", b"%d" % _READ_AT_ONCE, b"BLOCK", b"0", b"STREAMS", _STREAM, after) + _PING


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def _last_id(page: bytes) -> bytes:
    before = page[: page.rindex(_ENTRY_FIELDS)]
    return before[before.rindex(b"\r\n") + 2 :]


def _added_end(count: int) -> AnswerEnd:
    return _one_added_end if count == 1 else partial(_batch_added_end, 2 + count + 2 * count)


def _one_added_end(received: bytes) -> int:
    """An id: its length on one line, itself on the next."""
    _refuse_error(received)
    length_end = received.find(b"\r\n")
    end = received.find(b"\r\n", length_end + 2)
    return end + 2 if end > 0 and length_end > 0 else -1


def _batch_added_end(lines: int, received: bytes) -> int:
    """OK, a line for each queued command, and an array of ids; one transaction is in flight."""
    _refuse_error(received)
    return len(received) if received.endswith(b"\r\n") and received.count(b"\r\n") == lines else -1


def _refuse_error(received: bytes) -> None:
    if received.startswith(b"-"):
        raise Wrong(f"Redis answered {received[:300]!r}")


def _line_end(received: bytes) -> int:
    return received.find(b"\r\n") + 2 if b"\r\n" in received else -1


def _pong_end(received: bytes) -> int:
    return len(received) if received.endswith(_PONG) else -1


if __name__ == "__main__":
    answer({"publish": publish, "history": history, "fan_out": fan_out, "live": live})
