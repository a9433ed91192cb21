"""eventsourcing's DCB recorder for PostgreSQL: one recorder, and a pooled connection for each thread."""

import os
from collections.abc import Iterator, Sequence
from functools import cache
from urllib.parse import parse_qs, urlsplit

from eventsourcing.dcb.api import DCBEvent
from eventsourcing.dcb.postgres_tt import PostgresDCBRecorderTT
from eventsourcing.postgres import PostgresDatastore

from bench.peers.drivers.threads import Phases
from bench.peers.job import PAGE_FACTS, Job, answer
from bench.peers.workload import Fact

_READ_AT_ONCE = 10 * PAGE_FACTS
_CONNECTIONS_BESIDE_CLIENTS = 4


class Recording:
    def __init__(self, job: Job) -> None:
        self._recorder = _recorder(job)

    def prepare(self, facts: Sequence[Fact]) -> list[DCBEvent]:
        return [DCBEvent(fact.type, fact.document, list(fact.tags)) for fact in facts]

    def append(self, batch: list[DCBEvent]) -> None:
        self._recorder.append(batch)

    def stored(self) -> int:
        return sum(self.pages())

    def pages(self) -> Iterator[int]:
        after, read = 0, _READ_AT_ONCE
        while read == _READ_AT_ONCE:
            events = list(self._recorder.read(after=after, limit=_READ_AT_ONCE))
            read = len(events)
            after = events[-1].position if events else after
            yield read

    def deliveries(self) -> Iterator[Sequence[bytes]]:
        with self._recorder.subscribe() as subscription:
            for each in subscription:
                yield [each.event.data]


@cache
def _recorder(job: Job) -> PostgresDCBRecorderTT:
    url = urlsplit(job.address)
    datastore = PostgresDatastore(
        dbname=url.path.removeprefix("/"),
        host=parse_qs(url.query)["host"][0],
        port=5432,
        user=url.username or "",
        password="",
        pool_size=job.clients + _CONNECTIONS_BESIDE_CLIENTS,
        max_waiting=job.clients,
    )
    recorder = PostgresDCBRecorderTT(datastore)
    recorder.create_table()
    return recorder


if __name__ == "__main__":
    answer(Phases(Recording).table())
    os._exit(0)  # without waiting for subscriptions that never end
