"""Those who want nothing but to publish and follow, at a steady pace, and what they notice of a flood."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from tests.access.keys import new_client
from tests.e2e.wire import RawStream, streaming
from tests.support.builders import new_fact, publication

PUBLISHERS = 4
PAUSE_SECONDS = 0.05
ANSWER_SECONDS = 20.0


@dataclass
class Noticed:
    """Latencies in milliseconds: of publishes on open connections, on new ones, and until a follower has the fact."""

    publish: list[float] = field(default_factory=list)
    connect: list[float] = field(default_factory=list)
    deliver: list[float] = field(default_factory=list)

    def rows(self) -> dict[str, str]:
        return {
            name: f"n={len(values)} p50={at(values, 0.5):.1f} p99={at(values, 0.99):.1f} max={max(values):.1f} ms"
            for name, values in vars(self).items()
            if values
        }


def at(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


class Bystanders:
    """Publishers on connections of their own, one that connects anew each time, and one follower of them all."""

    def __init__(self, url: str, *, secret: str | None = None) -> None:
        self._url = url
        self._secret = secret
        self._published: dict[str, float] = {}
        self.noticed = Noticed()

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Work for as long as the block lasts. Raises what one of them could not do."""
        async with streaming(self._url, "?namespace=bystanders", secret=self._secret) as stream:
            await stream.read_until(lambda body: b"caught-up" in body)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._publish()) for _ in range(PUBLISHERS)]
                tasks += [group.create_task(self._connect()), group.create_task(self._follow(stream))]
                yield
                for task in tasks:
                    task.cancel()

    async def _publish(self) -> None:
        async with new_client(self._url, self._secret, timeout=ANSWER_SECONDS) as client:
            await client.get("/livez")
            while True:
                self.noticed.publish.append(await self._publish_one(client))
                await asyncio.sleep(PAUSE_SECONDS)

    async def _connect(self) -> None:
        while True:
            async with new_client(self._url, self._secret, timeout=ANSWER_SECONDS) as client:
                self.noticed.connect.append(await self._publish_one(client))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _publish_one(self, client: httpx.AsyncClient) -> float:
        fact = new_fact(namespace="bystanders")
        began_at = self._published[fact["id"]] = time.perf_counter()
        response = await client.post("/v1/facts", json=publication(fact))
        assert response.status_code == 201, response.text
        return (time.perf_counter() - began_at) * 1000

    async def _follow(self, stream: RawStream) -> None:
        while True:
            stream.body = b""
            assert await stream.read_chunk(), "the stream of a bystander ended"
            now = time.perf_counter()
            for piece in stream.body.split(b'"id":"')[1:]:
                began_at = self._published.pop(piece[:36].decode(), None)
                if began_at is not None:
                    self.noticed.deliver.append((now - began_at) * 1000)
