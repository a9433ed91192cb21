"""message-db's functions over asyncpg: prepared calls of write_message, for a batch pipelined in a transaction."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

import asyncpg

from bench.peers.drivers.tasks import history as read_history
from bench.peers.drivers.tasks import run, window
from bench.peers.job import PAGE_FACTS, Job, Outcome, answer
from bench.peers.workload import Fact, batches

# pgcrypto is left out: the embedded PostgreSQL has none, and what is used of it has long been in the core.
_SCRIPTS = (
    "schema/message-store.sql",
    "tables/messages.sql",
    "types/message.sql",
    *(
        f"functions/{name}.sql"
        for name in (
            "hash-64",
            "category",
            "acquire-lock",
            "is-category",
            "id",
            "cardinal-id",
            "stream-version",
            "write-message",
            "get-category-messages",
        )
    ),
    *(f"indexes/messages-{name}.sql" for name in ("id", "stream", "category")),
)
_DATABASE = Path(__file__).resolve().parent.parent / "node_modules" / "@eventide" / "message-db" / "database"
_WRITE = "select message_store.write_message($1::varchar, $2::varchar, $3::varchar, $4::jsonb)"
_READ = "select global_position, data from message_store.get_category_messages($1::varchar, $2, $3)"
_COUNT = "select count(*) from message_store.messages"

Arguments = tuple[str, str, str, str]


def publish(job: Job) -> Outcome:
    return run(_publish, job)


def history(job: Job) -> Outcome:
    return run(_history, job)


async def _publish(job: Job) -> Outcome:
    await _install(job)
    answered = [0] * job.clients
    ending = asyncio.Event()
    prepared = list(islice(batches(job.facts_per_request), max(32, 4096 // job.facts_per_request)))

    async def work(number: int) -> None:
        connection = await _connect(job)
        requests = map(_arguments, cycle(prepared), count(number * 1_000_000), _repeated(number % job.streams))
        write = await _writing(connection, job)
        while not ending.is_set():
            await write(next(requests))
            answered[number] += 1
        await connection.close()

    async with asyncio.TaskGroup() as group:
        for number in range(job.clients):
            group.create_task(work(number))
        requests, seconds = await window(lambda: sum(answered), job)
        ending.set()
    connection = await _connect(job)
    stored: int = await connection.fetchval(_COUNT)
    await connection.close()
    return Outcome(requests * job.facts_per_request, seconds, sum(answered) * job.facts_per_request, stored)


async def _writing(connection: Any, job: Job) -> Callable[[list[Arguments]], Any]:
    statement = await connection.prepare(_WRITE)
    if job.facts_per_request == 1:
        return lambda messages: statement.fetchval(*messages[0])

    async def write(messages: list[Arguments]) -> None:
        async with connection.transaction():
            await statement.executemany(messages)

    return write


async def _history(job: Job) -> Outcome:
    await _install(job)
    connection = await _connect(job)
    for number, batch in enumerate(islice(batches(PAGE_FACTS), job.facts // PAGE_FACTS)):
        async with connection.transaction():
            await connection.executemany(_WRITE, _arguments(batch, number, 0))
    await connection.execute("vacuum (analyze)")
    read = await connection.prepare(_READ)

    async def pages() -> AsyncIterator[int]:
        position = 0
        while rows := await read.fetch("bench0", position + 1, PAGE_FACTS):
            position = rows[-1]["global_position"]
            yield len(rows)

    return await read_history(job, pages)


def _arguments(batch: Sequence[Fact], batch_number: int, category: int) -> list[Arguments]:
    """An entity of its own for each batch; all in one category, or in the client's."""
    stream = f"bench{category}-{batch_number}"
    return [(str(uuid.uuid4()), stream, fact.type, fact.document.decode()) for fact in batch]


def _repeated(value: int) -> Iterator[int]:
    return cycle((value,))


async def _install(job: Job) -> None:
    connection = await asyncpg.connect(job.address)
    await connection.execute("create schema if not exists message_store")
    await connection.execute("set search_path to message_store, public")
    for script in _SCRIPTS:
        await connection.execute((_DATABASE / script).read_text(encoding="utf-8"))
    await connection.close()


async def _connect(job: Job) -> Any:
    return await asyncpg.connect(job.address, server_settings={"search_path": "message_store, public"})


if __name__ == "__main__":
    answer({"publish": publish, "history": history})
