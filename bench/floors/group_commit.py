"""The least that publishing can cost: requests gather while one call is in flight, one insert from arrays."""

import asyncio
import os
import time
from typing import Any

import asyncpg
import msgspec

CREATE_TABLE = """
create table if not exists facts(
  position bigint primary key,
  id uuid not null unique,
  published_at timestamptz not null default clock_timestamp(),
  document bytea not null)
"""
# One row comes back however many facts go in; the floor is the only writer, so max + 1 is safe.
_INSERT = """
with head as (
  select coalesce(max(position), 0) as position
  from facts
), inserted as (
  insert into facts(position, id, document)
  select head.position + fact.ordinality, fact.id, fact.document
  from head, unnest($1::uuid[], $2::bytea[]) with ordinality as fact(id, document, ordinality)
)
select position
from head
"""
_FACTS_PER_CALL_MAX = 1000


class Fact(msgspec.Struct):
    namespace: str
    type: str
    payload: msgspec.Raw
    id: str | None = None
    version: int = 1
    aggregate_ids: list[str] = []
    meta: dict[str, str | list[str]] = {}


class Publish(msgspec.Struct):
    facts: list[msgspec.Raw]
    condition: msgspec.Raw = msgspec.Raw()


class Published:
    """One request on its way: the bytes of its facts, and the future of its first position."""

    __slots__ = ("documents", "first", "ids")

    def __init__(self, body: bytes, ids: "Ids", first: asyncio.Future[int]) -> None:
        self.documents = _REQUEST.decode(body).facts
        self.ids = [_FACT.decode(document).id or ids.next() for document in self.documents]
        self.first = first


_REQUEST = msgspec.json.Decoder(Publish)
_FACT = msgspec.json.Decoder(Fact)


class Ids:
    """Time-ordered UUIDs, as cheap as they can be: a random start, then counted."""

    def __init__(self) -> None:
        self._start = f"{time.time_ns() // 1_000_000:012x}"
        self._start = f"{self._start[:8]}-{self._start[8:]}-7{os.urandom(2).hex()[1:]}-8"
        self._number = 0

    def next(self) -> str:
        self._number += 1
        number = f"{self._number:015x}"
        return f"{self._start}{number[:3]}-{number[3:]}"


class GroupCommit:
    """Takes all requests that gathered, up to 1 000 facts, in one call; one call is in flight at a time."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self.head = 0
        self._connection = connection
        self._gathered: list[Published] = []
        self._arrived = asyncio.Event()
        self._ids = Ids()

    async def publish(self, body: bytes) -> Published:
        request = Published(body, self._ids, asyncio.get_running_loop().create_future())
        self._gathered.append(request)
        self._arrived.set()
        await request.first
        return request

    async def run(self) -> None:
        insert = await self._connection.prepare(_INSERT)
        while True:
            await self._arrived.wait()
            requests = self._take()
            ids = [id for request in requests for id in request.ids]
            documents = [document for request in requests for document in request.documents]
            first: int = await insert.fetchval(ids, documents) + 1
            self.head = first + len(ids) - 1
            for request in requests:
                request.first.set_result(first)
                first += len(request.ids)

    def _take(self) -> list[Published]:
        taken, facts = 0, 0
        for request in self._gathered:
            facts += len(request.ids)
            if taken and facts > _FACTS_PER_CALL_MAX:
                break
            taken += 1
        requests = self._gathered[:taken]
        del self._gathered[:taken]
        if not self._gathered:
            self._arrived.clear()
        return requests
