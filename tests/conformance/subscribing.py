"""A subscription as its workers use it over HTTP."""

from __future__ import annotations

from typing import Any

import httpx

from tests.conformance.wire import Json, answered, fact, problem, publish, unique


class Subscribed:
    """A subscription over the facts of one namespace, from the start of it."""

    def __init__(self, client: httpx.AsyncClient, namespace: str) -> None:
        self.client = client
        self.namespace = namespace
        self.name = unique("subscription")

    @property
    def path(self) -> str:
        return f"/v1/subscriptions/{self.name}"

    async def put(self, **members: Any) -> Json:
        body = {"query": {"items": [{"namespaces": [self.namespace]}]}, "start": "start"} | members
        response = await self.client.put(self.path, json=body)
        return answered(response, 200 if response.status_code == 200 else 201)

    async def publish(self, *aggregate_ids: str, type: str = "Done") -> Json:
        return await publish(self.client, fact(self.namespace, type, aggregate_ids=list(aggregate_ids)))

    async def post(self, operation: str, **body: Any) -> httpx.Response:
        return await self.client.post(f"{self.path}/{operation}", json=body)

    async def claim(self, limit: int = 100, worker: str = "w", wait_seconds: float = 0) -> list[Json]:
        body = {"worker": worker, "limit": limit, "wait_seconds": wait_seconds}
        facts: list[Json] = answered(await self.post("claim", **body))["facts"]
        return facts

    async def ack(self, claimed: list[Json]) -> int:
        done: int = answered(await self.post("ack", leases=leases_of(claimed)))["acknowledged"]
        return done

    async def nack(self, claimed: list[Json], **how: Any) -> Json:
        return answered(await self.post("nack", leases=leases_of(claimed), **how))

    async def status(self) -> Json:
        return answered(await self.client.get(self.path))

    async def parked(self, **parameters: Any) -> list[Json]:
        facts: list[Json] = answered(await self.client.get(f"{self.path}/parked", params=parameters))["facts"]
        return facts

    async def refused(self, operation: str, status: int, code: str, **body: Any) -> Json:
        return problem(await self.post(operation, **body), status, code)


def leases_of(claimed: list[Json]) -> list[str]:
    return [each["lease"] for each in claimed]


def ids_in(claimed: list[Json]) -> list[list[str]]:
    """The aggregate ids of the facts, in their order."""
    return [each["fact"]["aggregate_ids"] for each in claimed]
