"""Clients that record every call: publishers, conditional publishers, readers of pages, exporters and an auditor."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import msgspec

from tests.faults.history import (
    Call,
    Condition,
    Outcome,
    Publish,
    Read,
    Recorder,
    Request,
    Seen,
    Sent,
    content_of,
    seen,
)

TYPES = ("OrderPlaced", "OrderPaid", "OrderSent")
ANSWER_SECONDS = 8.0
AUDIT_SECONDS = 60.0
PAUSE_SECONDS = 0.04
REMEMBERED = 200

# Where the other end is gone before the connection is set up, anyio asks what is no transport any more for its peer.
BROKEN = (httpx.TransportError, TimeoutError, AttributeError)
PATIENCE_SECONDS = 45.0


@dataclass(slots=True)
class Shared:
    """What the clients of a run share: where the service is, what is recorded, and whether to go on.

    `forked` is set once any process has reported that history was replaced.
    """

    recorder: Recorder
    urls: list[str]
    seed: str
    text_bytes_max: int = 400
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    forked: asyncio.Event = field(default_factory=asyncio.Event)

    def random(self, process: str) -> random.Random:
        return random.Random(f"{self.seed}/{process}")


class Client:
    """One process of the history: one call at a time, to whichever address answers."""

    def __init__(self, shared: Shared, process: str, *, url: str = "") -> None:
        self.shared = shared
        self.process = process
        self.random = shared.random(process)
        self._url = url
        self.url = url or self.random.choice(shared.urls)
        self._http = httpx.AsyncClient(timeout=ANSWER_SECONDS, verify=False)

    async def publish(self, facts: list[Sent], bodies: list[dict[str, Any]], condition: Condition | None) -> Outcome:
        body: dict[str, Any] = {"facts": bodies}
        if condition:
            item = {"types": [condition.type], "aggregate_ids": [condition.aggregate_id]}
            after = f"{condition.epoch}:{condition.after}" if condition.epoch else condition.after
            body["condition"] = {"fail_if_match": [item], "after": after}
        return await self._call(Publish(facts, condition), published, "POST", "/v1/facts", json=body)

    async def read(self, request: Read) -> Outcome:
        parameters = {"after": str(request.after), "limit": str(request.limit)}
        if request.type:
            parameters["type"] = request.type
        if request.descending:
            parameters["order"] = "desc"
        return await self._call(request, page, "GET", "/v1/facts", params=parameters)

    async def export(self, after: int) -> Outcome:
        return await self._call(
            Read(after), exported(after), "GET", "/v1/facts/export", params={"after": str(after)}, seconds=AUDIT_SECONDS
        )

    def elsewhere(self) -> None:
        """Try another address the next time."""
        if not self._url:
            self.url = self.random.choice(self.shared.urls)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _call(
        self,
        request: Request,
        understand: Callable[[httpx.Response], Outcome],
        method: str,
        path: str,
        *,
        seconds: float = ANSWER_SECONDS,
        **content: Any,
    ) -> Outcome:
        start = self.shared.recorder.now()
        try:
            async with asyncio.timeout(seconds):
                response = await self._http.request(method, self.url + path, timeout=seconds, **content)
            outcome = understand(response) if response.is_success else refused(response)
        except BROKEN as error:
            outcome = Outcome(0, type(error).__name__)
        except asyncio.CancelledError:
            self.record(request, start, Outcome(0, "cancelled"))
            raise
        return self.record(request, start, outcome)

    def record(self, request: Request, start: float, outcome: Outcome) -> Outcome:
        """Add a call that ends now to the history, and turn elsewhere where it met with no success."""
        self.shared.recorder.add(Call(self.process, start, self.shared.recorder.now(), request, outcome))
        if outcome.problem == "history-forked":
            self.shared.forked.set()
        if outcome.status in {0, 503}:
            self.elsewhere()
        return outcome


def published(response: httpx.Response) -> Outcome:
    body = response.json()
    positions = tuple(fact["position"] for fact in body["facts"])
    return Outcome(response.status_code, positions=positions, published_at=body["published_at"])


class _Page(msgspec.Struct):
    facts: list[msgspec.Raw]
    position: int
    head: int
    cursor: str
    caught_up: bool
    until: str | None = None


def page(response: httpx.Response) -> Outcome:
    body = msgspec.json.decode(response.content, type=_Page)
    descending = "order=desc" in str(response.request.url)
    through = body.position
    if descending:
        through = int(body.until.rpartition(":")[2]) if body.until else 0
    epoch = int(body.cursor.partition(":")[0])
    return Outcome(200, through=through, head=body.head, epoch=epoch, facts=[seen(bytes(fact)) for fact in body.facts])


def exported(after: int) -> Callable[[httpx.Response], Outcome]:
    def understand(response: httpx.Response) -> Outcome:
        facts: list[Seen] = [seen(line) for line in response.content.split(b"\n") if line]
        head = facts[-1].position if facts else after
        return Outcome(200, through=head, head=head, facts=facts)

    return understand


def refused(response: httpx.Response) -> Outcome:
    try:
        problem = response.json()
    except ValueError:
        return Outcome(response.status_code, "no problem document")
    return Outcome(
        response.status_code,
        problem["type"].rpartition(":")[2],
        conflict=problem.get("position"),
        refused=tuple(problem.get("leases", ())),
    )


class Publisher(Client):
    """Publishes batches, repeats them until they are acknowledged, and now and then repeats or contradicts an old one.

    Some batches it gives up in doubt: they may stand in the log or not.
    """

    async def run(self) -> None:
        done: list[tuple[list[Sent], list[dict[str, Any]]]] = []
        while not self.shared.stopping.is_set():
            chance = self.random.random()
            if done and chance < 0.05:
                await self.publish(*self.random.choice(done), None)
            elif done and chance < 0.08:
                sent, bodies = self.random.choice(done)
                await self.publish(*contradicted(sent, bodies), None)
            else:
                batch = self.batch(self.random.choice((1, 1, 1, 2, 3, 5)))
                if await self.until_acknowledged(*batch, None, tries=1 if chance > 0.95 else None):
                    done[:] = [*done[-REMEMBERED:], batch]
            await asyncio.sleep(self.random.uniform(0, PAUSE_SECONDS))

    async def finish(self) -> None:
        """Do what is left when everybody has stopped."""

    def batch(self, count: int) -> tuple[list[Sent], list[dict[str, Any]]]:
        bodies = [self.body(self.random.choice(TYPES), f"order-{self.random.randrange(200)}") for _ in range(count)]
        return [sent_of(body) for body in bodies], bodies

    def body(self, type: str, aggregate_id: str) -> dict[str, Any]:
        payload = {"by": self.process, "text": "x" * self.random.randrange(self.shared.text_bytes_max)}
        id = str(UUID(int=self.random.getrandbits(128), version=4))
        return {"id": id, "namespace": "shop", "type": type, "aggregate_ids": [aggregate_id], "payload": payload}

    async def until_acknowledged(
        self, sent: list[Sent], bodies: list[dict[str, Any]], condition: Condition | None, *, tries: int | None = None
    ) -> bool:
        """Repeat until the outcome is certain, or the tries or the run are over."""
        attempt = 0
        give_up_at = self.shared.recorder.now() + PATIENCE_SECONDS
        while self.shared.recorder.now() < give_up_at and (tries is None or attempt < tries):
            outcome = await self.publish(sent, bodies, condition)
            if outcome.acknowledged or 400 <= outcome.status < 500 or self.shared.stopping.is_set():
                return outcome.acknowledged
            attempt += 1
            await asyncio.sleep(self.random.uniform(0.02, 0.2))
        return False


class Conditional(Publisher):
    """Competes for slots, of which each is taken once, and counts: each count stands on the one before."""

    async def run(self) -> None:
        slot = 0
        while not self.shared.stopping.is_set():
            if self.random.random() < 0.5:
                slot += 1
                await self.take(f"slot-{slot}")
            else:
                await self.count(f"counter-{self.random.randrange(3)}")
            await asyncio.sleep(self.random.uniform(0, PAUSE_SECONDS))

    async def take(self, slot: str) -> None:
        body = self.body("SlotTaken", slot)
        await self.until_acknowledged([sent_of(body)], [body], Condition("SlotTaken", slot, 0))

    async def count(self, counter: str) -> None:
        found = await self.read(Read(0, 1, "Counted", descending=True))
        if found.status == 200:
            body = self.body("Counted", counter)
            await self.until_acknowledged([sent_of(body)], [body], Condition("Counted", counter, found.head))


class PageReader(Client):
    """Reads pages up to the head, from anywhere, forwards and backwards, with and without a filter."""

    async def run(self) -> None:
        after = 0
        while not self.shared.stopping.is_set():
            request = Read(
                after,
                self.random.choice((10, 100, 300)),
                self.random.choice((None, None, *TYPES)),
                descending=self.random.random() < 0.2,
            )
            found = await self.read(request)
            if found.status == 200 and not request.descending:
                after = found.through if found.through < found.head else self.random.randrange(found.head + 1)
            if found.problem.startswith("cursor-"):
                after = 0
            await asyncio.sleep(self.random.uniform(0, 5 * PAUSE_SECONDS))


class Exporter(Client):
    """Exports the newest part of the log again and again."""

    async def run(self) -> None:
        after = 0
        while not self.shared.stopping.is_set():
            found = await self.export(after)
            after = max(0, found.through - 500) if found.status == 200 else 0
            await asyncio.sleep(self.random.uniform(0.2, 0.6))


def sent_of(body: dict[str, Any]) -> Sent:
    payload = httpx.Request("POST", "http://test", json=body["payload"]).content
    aggregate_ids = tuple(body["aggregate_ids"])
    return Sent(body["id"], body["type"], aggregate_ids, content_of(body["type"], aggregate_ids, payload))


def contradicted(sent: list[Sent], bodies: list[dict[str, Any]]) -> tuple[list[Sent], list[dict[str, Any]]]:
    """The same ids with other content."""
    changed = [body | {"payload": {"other": True}} for body in bodies]
    return [sent_of(body) for body in changed], changed
