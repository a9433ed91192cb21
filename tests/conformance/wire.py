"""Facts, publishing, pages and problems, as the cases speak of them."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx

Json = dict[str, Any]
T = TypeVar("T")

TIMEOUT = 20.0
NDJSON = {"content-type": "application/x-ndjson"}
JSON = {"content-type": "application/json"}


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex}"


def fact(namespace: str, type_: str = "Noted", **members: Any) -> Json:
    return {"namespace": namespace, "type": type_, "payload": {}, **members}


def identified(namespace: str, type_: str = "Noted", **members: Any) -> Json:
    return fact(namespace, type_, id=str(uuid.uuid4()), **members)


async def post_facts(client: httpx.AsyncClient, *facts: Json, condition: Json | None = None) -> httpx.Response:
    body: Json = {"facts": list(facts)}
    if condition is not None:
        body["condition"] = condition
    return await client.post("/v1/facts", content=json.dumps(body), headers=JSON)


async def publish(client: httpx.AsyncClient, *facts: Json, condition: Json | None = None) -> Json:
    """Publish facts that nothing speaks against; the answer."""
    return answered(await post_facts(client, *facts, condition=condition), 201)


async def publish_many(client: httpx.AsyncClient, namespace: str, count: int, **members: Any) -> list[str]:
    """Publish many facts, as batches within the limits; their ids in the order of the log."""
    ids: list[str] = []
    for start in range(0, count, 1000):
        batch = [fact(namespace, **members, payload={"n": n}) for n in range(start, min(start + 1000, count))]
        ids += ids_of(await publish(client, *batch))
    return ids


def answered(response: httpx.Response, status: int = 200) -> Json:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/json")
    answer: Json = response.json()
    return answer


def problem(response: httpx.Response, status: int, *codes: str) -> Json:
    """A problem as RFC 9457 describes it, with one of the codes."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"].partition(";")[0] == "application/problem+json"
    told: Json = response.json()
    assert told["status"] == status
    assert told["type"] in {f"urn:factwire:problem:{code}" for code in codes}
    assert all(isinstance(told[member], str) and told[member] for member in ("title", "detail"))
    return told


def pointers(told: Json) -> list[str]:
    return [error.get("pointer") for error in told["errors"]]


def parameters(told: Json) -> list[str]:
    return [error.get("parameter") for error in told["errors"]]


def ids_of(answer: Json) -> list[str]:
    return [one["id"] for one in answer["facts"]]


def positions_of(answer: Json) -> list[int]:
    return [one["position"] for one in answer["facts"]]


def epoch_of(cursor: str) -> int:
    return int(cursor.partition(":")[0])


def position_of(cursor: str) -> int:
    return int(cursor.partition(":")[2])


async def head_cursor(client: httpx.AsyncClient) -> str:
    cursor: str = answered(await client.get("/v1/position"))["cursor"]
    return cursor


async def page(client: httpx.AsyncClient, **parameters: Any) -> Json:
    return answered(await client.get("/v1/facts", params=parameters))


async def pages(client: httpx.AsyncClient, **parameters: Any) -> list[Json]:
    """The pages in ascending order, each from the cursor of the one before, until one is caught up."""
    read = [await page(client, **parameters)]
    while not read[-1]["caught_up"]:
        read.append(await page(client, **{**parameters, "after": read[-1]["cursor"]}))
    return read


async def read(client: httpx.AsyncClient, **parameters: Any) -> list[Json]:
    return [one for each in await pages(client, **parameters) for one in each["facts"]]


async def eventually(probe: Callable[[], Awaitable[T]], holds: Callable[[T], bool]) -> T:
    """Ask again until the answer holds, within the time limit."""
    async with asyncio.timeout(TIMEOUT):
        while not holds(answer := await probe()):
            await asyncio.sleep(0.02)
    return answer
