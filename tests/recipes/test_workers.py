"""docs/recipes/billing_worker.*: workers that share a subscription are killed, and bill each order once."""

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.conftest import StartService
from tests.recipes.programs import DOCS, node, publish, published, python, running
from tests.support.builders import Fact, new_fact
from tests.support.waiting import until

ORDERS = 60
PLAINLY = "acknowledge=claimed,"


def order(number: int, **payload: object) -> Fact:
    given = {"total": number} | payload
    return new_fact(
        namespace="orders", type="OrderPlaced", aggregate_ids=[f"order-{number % 20}"], meta={}, payload=given
    )


def command_of(language: str, url: str, directory: Path) -> list[str]:
    match language:
        case "python":
            return python("recipes/billing_worker.py", url)
        case "node":
            return node("recipes/billing_worker.mjs", url, directory=directory)
        case _:
            return ["bash", str(DOCS / "recipes" / "billing_worker.sh"), url]


async def status_of(url: str) -> dict[str, object]:
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        response = await client.get("/v1/subscriptions/billing")
        status: dict[str, object] = response.json() if response.is_success else {}
        return status


async def invoices(url: str) -> Counter[int]:
    return Counter(fact["payload"]["total"] for fact in await published(url, "billing"))


@pytest.mark.timeout(120)
async def test_workers_that_are_killed_bill_each_order_once(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service()
    await publish(service.url, *[order(number) for number in range(ORDERS)])
    command = command_of("python", service.url, tmp_path)

    async def all_billed() -> bool:
        return set(await invoices(service.url)) == set(range(ORDERS))

    for turn in range(4):
        async with AsyncExitStack() as stack:
            programs = [
                await stack.enter_async_context(running(command, log_path=tmp_path / f"{turn}-{number}"))
                for number in range(2)
            ]
            await asyncio.sleep(random.uniform(0.5, 0.8))
            for program in programs:
                await program.kill()
    async with running(command, log_path=tmp_path / "last"):
        await until(all_billed, seconds=60)
    assert set((await invoices(service.url)).values()) == {1}


@pytest.mark.parametrize(
    "language",
    ["python", pytest.param("node", marks=pytest.mark.clients), pytest.param("shell", marks=pytest.mark.clients)],
)
async def test_a_worker_of_each_language_bills_in_order_and_parks_what_it_cannot_bill(
    start_service: StartService, tmp_path: Path, language: str
) -> None:
    service = await start_service()
    await publish(service.url, *[order(number) for number in range(5)], order(6, total=None), order(26))
    command = command_of(language, service.url, tmp_path)

    async def is_done() -> bool:
        return (await status_of(service.url)).get("parked") == 1 and len(await invoices(service.url)) == 5

    async with running(command, log_path=tmp_path / "said"):
        await until(is_done, seconds=30)
    # The other order of the same aggregate waits behind the parked one.
    assert (await status_of(service.url))["held"] == 1
    assert await invoices(service.url) == Counter(range(5))
