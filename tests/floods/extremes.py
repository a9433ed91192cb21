"""Clients that use what they may to the utmost: one principal, or one stranger, over many connections."""

import asyncio
import re
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import count

import uvloop

from tests.floods import extreme_bodies as bodies
from tests.floods.attackers import SOURCE, limit_of_files
from tests.floods.flooding import Signals

JSON, NDJSON = "application/json", "application/x-ndjson"
AGAIN_SECONDS = 0.2  # after a connection that was closed
LOOK_SECONDS = 0.1
SLOW_READ_BYTES, SLOW_READ_SECONDS = 2048, 3.0
SMALL_BUFFER_BYTES = 4096
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
HEAD = re.compile(rb'"cursor":"([^"]+)"')


@dataclass
class Attackers:
    """What the attackers of one test know and count."""

    port: int
    secret: str
    after: str = "start"
    outcomes: Counter[str] = field(default_factory=Counter)
    numbers: Iterator[int] = field(default_factory=count)


class Attacker:
    """One connection after the other, from the one address of all attackers."""

    def __init__(self, attackers: Attackers, number: int, *, reads: bool = True) -> None:
        self.all = attackers
        self.number = number
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter
        self._reads = reads

    async def ask(
        self, method: str, path: str, body: bytes = b"", *, media_type: str = JSON, coding: str = ""
    ) -> bytes:
        """Send a request, and return the body of its answer."""
        await self.send(method, path, body, media_type=media_type, coding=coding)
        return await self.answer()

    async def send(
        self, method: str, path: str, body: bytes = b"", *, media_type: str = JSON, coding: str = ""
    ) -> None:
        lines = [f"{method} {path} HTTP/1.1", "host: localhost"]
        if method == "POST":
            lines += [f"content-length: {len(body)}", f"content-type: {media_type}"]
        if coding:
            lines.append(f"content-encoding: {coding}")
        if self.all.secret:
            lines.append(f"authorization: Bearer {self.all.secret}")
        await self.send_raw("\r\n".join([*lines, "", ""]).encode() + body)

    async def send_raw(self, data: bytes) -> None:
        if self.reader is None:
            await self._connect()
        self.writer.write(data)
        await self.writer.drain()

    async def _connect(self) -> None:
        sock = socket.socket()
        if not self._reads:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        sock.setblocking(False)
        sock.bind((SOURCE, 0))
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.all.port))
        limit = 2**18 if self._reads else SMALL_BUFFER_BYTES
        self.reader, self.writer = await asyncio.open_connection(sock=sock, limit=limit)

    async def answer(self) -> bytes:
        """The body of the answer, which is counted by its status."""
        assert self.reader is not None
        head = await self.begin_answer()
        length = LENGTH.search(head)
        if length is not None:
            return await self.reader.readexactly(int(length[1]))
        body = b""
        while chunk := await self.chunk():
            body += chunk
        return body

    async def begin_answer(self) -> bytes:
        assert self.reader is not None
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.all.outcomes[head[9:12].decode()] += 1
        return head

    async def chunk(self) -> bytes:
        assert self.reader is not None
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def drain(self) -> None:
        """Read until the service closes the connection, or the answer ends."""
        await self.begin_answer()
        while await self.chunk():
            pass

    def close(self) -> None:
        if self.reader is not None:
            self.writer.transport.abort()
            self.reader = None

    def next_number(self) -> int:
        return next(self.all.numbers)


Attack = Callable[[Attacker], Awaitable[object]]


@dataclass(frozen=True)
class Role:
    """What so many connections do, again and again."""

    attack: Attack
    connections: int
    reads: bool = True


@cache
def made(make: Callable[..., bytes], *arguments: object) -> bytes:
    """A body, made once."""
    return make(*arguments)


def run_extreme(port: int, secret: str, prepare: Attack | None, roles: tuple[Role, ...], signals: Signals) -> None:
    """Prepare, and play all roles until it is enough; in a process of their own."""
    limit_of_files(sum(role.connections for role in roles) + 1000)
    attackers = Attackers(port, secret)

    async def run() -> None:
        if prepare is not None:
            first = Attacker(attackers, 0)
            await prepare(first)
            first.close()
            attackers.outcomes.clear()
        signals.begun.set()
        tasks = [
            asyncio.create_task(repeat(role.attack, Attacker(attackers, number, reads=role.reads)))
            for role in roles
            for number in range(role.connections)
        ]
        while not signals.stop.is_set():
            await asyncio.sleep(LOOK_SECONDS)
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if outcome is not None and not isinstance(outcome, asyncio.CancelledError):
                attackers.outcomes[f"failed: {outcome!r}"] += 1

    uvloop.run(run())
    signals.outcomes.put(dict(attackers.outcomes))


async def repeat(attack: Attack, attacker: Attacker) -> None:
    try:
        while True:
            try:
                await attack(attacker)
            except (OSError, asyncio.IncompleteReadError):
                attacker.all.outcomes["closed"] += 1
                attacker.close()
                await asyncio.sleep(AGAIN_SECONDS)
    finally:
        attacker.close()


# Bodies


@cache
def searches() -> list[bytes]:
    return bodies.searches_of_escapes()


@cache
def publications() -> list[bytes]:
    return bodies.publications_of_escapes()


@cache
def bombs() -> list[tuple[str, bytes]]:
    return bodies.bombs()


async def search_for_escapes(attacker: Attacker) -> None:
    for body in searches():
        await attacker.ask("POST", "/v1/facts/search", body)


async def publish_escapes(attacker: Attacker) -> None:
    for body in publications():
        await attacker.ask("POST", "/v1/facts", body)


async def import_an_endless_line(attacker: Attacker) -> None:
    """Send nearly as much of one line as it may have, and no more."""
    head = (
        f"POST /v1/facts/import HTTP/1.1\r\nhost: localhost\r\ncontent-type: {NDJSON}\r\ntransfer-encoding: chunked\r\n"
    )
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    await attacker.send_raw(head.encode() + b"\r\n" + 63 * chunk)
    await attacker.drain()
    attacker.close()


async def import_bombs(attacker: Attacker) -> None:
    coding, body = bombs()[attacker.number % len(bombs())]
    await attacker.ask("POST", "/v1/facts/import", body, media_type=NDJSON, coding=coding)


# Facts


async def publish_many_postings(attacker: Attacker) -> None:
    body = bodies.numbered(made(bodies.many_postings), attacker.next_number())
    await attacker.ask("POST", "/v1/facts", body)


async def publish_large_payloads(attacker: Attacker) -> None:
    await attacker.ask("POST", "/v1/facts", made(bodies.large_payloads))


# Streams


async def follow_all_but_one_tag(attacker: Attacker) -> None:
    body = bodies.numbered(made(bodies.query_for_all_but_one_tag), attacker.next_number())
    await attacker.send("POST", "/v1/stream?after=head", body)
    await attacker.drain()


async def publish_many_tags(attacker: Attacker) -> None:
    await attacker.ask("POST", "/v1/facts", made(bodies.many_tags))


async def fill_the_ring(attacker: Attacker) -> None:
    """With 4 000 facts that have 95 tags each; attackers know the position before them."""
    attacker.all.after = await cursor_of(attacker)
    for _ in range(38):
        await publish_many_tags(attacker)


async def catch_up(attacker: Attacker) -> None:
    path = bodies.path_for_all_but_one_tag(attacker.all.after).encode()
    await attacker.send("GET", bodies.numbered(path, attacker.next_number()).decode())
    await attacker.begin_answer()
    while b"caught-up" not in await attacker.chunk():
        pass
    attacker.all.outcomes["caught up"] += 1
    attacker.close()


async def publish_2000_of_one_aggregate(attacker: Attacker) -> None:
    attacker.all.after = await cursor_of(attacker)
    for _ in range(20):
        await publish_of_one_aggregate(attacker)


async def catch_up_by_20_items(attacker: Attacker) -> None:
    """Look through what is in the ring for nothing, and begin again."""
    body = bodies.numbered(made(bodies.queries_at_one_aggregate, 20), attacker.next_number())
    await attacker.send("POST", f"/v1/stream?after={attacker.all.after}", body)
    await attacker.begin_answer()
    while b"caught-up" not in await attacker.chunk():
        pass
    attacker.all.outcomes["caught up"] += 1
    attacker.close()


async def follow_the_largest_query(attacker: Attacker) -> None:
    await attacker.send("POST", "/v1/stream", bodies.numbered(made(bodies.largest_query), attacker.next_number()))
    await attacker.drain()


async def follow_one_aggregate(attacker: Attacker) -> None:
    body = bodies.numbered(made(bodies.queries_at_one_aggregate, 1), attacker.next_number())
    await attacker.send("POST", "/v1/stream?after=head", body)
    await attacker.drain()


async def follow_one_aggregate_by_20_items(attacker: Attacker) -> None:
    body = bodies.numbered(made(bodies.queries_at_one_aggregate, 20), attacker.next_number())
    await attacker.send("POST", "/v1/stream?after=head", body)
    await attacker.drain()


async def publish_of_one_aggregate(attacker: Attacker) -> None:
    await attacker.ask("POST", "/v1/facts", made(bodies.facts_of_one_aggregate))


# Answers


async def publish_some_history(attacker: Attacker) -> None:
    for _ in range(8):
        await attacker.ask("POST", "/v1/facts", made(bodies.facts_of_8_kb))


async def export_unread(attacker: Attacker) -> None:
    await leave_unread(attacker, "/v1/facts/export")


async def page_unread(attacker: Attacker) -> None:
    await leave_unread(attacker, "/v1/facts?limit=1000")


async def leave_unread(attacker: Attacker, path: str) -> None:
    await attacker.send("GET", path)
    head = await attacker.begin_answer()
    if b" 200 " in head[:15]:
        await asyncio.Event().wait()
    attacker.close()
    await asyncio.sleep(AGAIN_SECONDS)


async def catch_up_slowly(attacker: Attacker) -> None:
    await attacker.send("GET", "/v1/stream?after=start")
    await attacker.begin_answer()
    assert attacker.reader is not None
    while await attacker.reader.read(SLOW_READ_BYTES):
        await asyncio.sleep(SLOW_READ_SECONDS)
    attacker.all.outcomes["ended"] += 1
    attacker.close()


async def poll_with_the_largest_query(attacker: Attacker) -> None:
    body = bodies.numbered(made(bodies.largest_query), attacker.next_number())
    await attacker.ask("POST", "/v1/facts/search?after=head&wait_seconds=0.3", body)


async def poll_with_a_body(attacker: Attacker) -> None:
    """Wait for facts, and send a body with it that nobody asks for, as far as it is taken."""
    line = b"GET /v1/facts?namespace=none&after=head&wait_seconds=50 HTTP/1.1\r\nhost: localhost\r\n"
    await attacker.send_raw(line + b"content-length: 4000000\r\n\r\n" + bytes(400_000))
    await attacker.answer()
    attacker.close()


# Headers


async def hold_headers(attacker: Attacker) -> None:
    await attacker.send_raw(made(bodies.header_lines))
    await attacker.answer()
    attacker.close()


# Conditions


async def publish_on_the_largest_condition(attacker: Attacker) -> None:
    body = bodies.numbered(made(bodies.largest_condition), attacker.next_number())
    await attacker.ask("POST", "/v1/facts", body)


async def publish_2000_kinds(attacker: Attacker) -> None:
    for first in (0, 1000):
        await attacker.ask("POST", "/v1/facts", made(bodies.many_kinds, first, 1000))


async def publish_many_kinds(attacker: Attacker) -> None:
    await attacker.ask("POST", "/v1/facts", made(bodies.many_kinds, 0, 900))


async def publish_on_many_kinds(attacker: Attacker) -> None:
    body = bodies.numbered(made(bodies.condition_on_many_kinds), attacker.next_number())
    await attacker.ask("POST", "/v1/facts", body)


# Sessions


async def begin_sessions(attacker: Attacker) -> None:
    await attacker.ask("POST", "/v1/session")


async def ask_for_tickets(attacker: Attacker) -> None:
    await attacker.ask("POST", "/v1/tickets")


async def cursor_of(attacker: Attacker) -> str:
    found = HEAD.search(await attacker.ask("GET", "/v1/position"))
    assert found is not None
    return found[1].decode()
