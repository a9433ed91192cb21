"""docs/recipes/order_service.py and shipping_service.mjs: killed at any moment, each order is shipped exactly once."""

import asyncio
import itertools
import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid5

import httpx
import pytest

from tests.conftest import StartService
from tests.recipes.cutting import relaying
from tests.recipes.programs import altered, node, publish, published, python, run, running
from tests.support.builders import new_fact
from tests.support.service import free_port
from tests.support.waiting import until

pytestmark = pytest.mark.clients

KILLS = 4
DERIVED = 'const id = await derivedId(order, "shipped");'
RANDOM = "const id = crypto.randomUUID();"


class Orders:
    """The order service, and what its customers do and see."""

    def __init__(self, url: str, directory: Path) -> None:
        self.path = directory / "orders.db"
        self.port = free_port()
        self.command = python("recipes/order_service.py", url, self.path, self.port)

    async def place(self, order: str) -> bool:
        answer = await self.ask("PUT", f"/orders/{order}", {"item": "a book"})
        return answer is not None and answer.is_success

    async def know(self, shipments: dict[str, int]) -> bool:
        answer = await self.ask("GET", "/orders")
        return answer is not None and bool(answer.json() == shipments)

    async def ask(self, method: str, path: str, body: object = None) -> httpx.Response | None:
        try:
            async with httpx.AsyncClient(timeout=30, verify=False) as client:
                return await client.request(method, f"http://127.0.0.1:{self.port}{path}", json=body)
        except httpx.TransportError:
            return None  # it does not run

    def seen(self) -> int:
        return len(self.look("select id from orders"))

    def follows(self) -> bool:
        return self.look("select cursor from factwire_cursors") not in ([], [("start",)])

    def look(self, statement: str) -> list[tuple[str]]:
        try:
            with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as state:
                return state.execute(statement).fetchall()
        except sqlite3.OperationalError:
            return []  # not there yet


class Shipping:
    def __init__(self, url: str, directory: Path, *, language: str = "javascript") -> None:
        self.path = directory / "shipping.json"
        if language == "python":
            self.command = python("recipes/shipping_service.py", url, self.path)
        else:
            self.command = node("recipes/shipping_service.mjs", url, self.path, directory=directory)

    def seen(self) -> int:
        return int(json.loads(self.path.read_text())["state"]["shipped"]) if self.path.exists() else 0


async def types_of(url: str, namespace: str) -> Counter[tuple[str, str]]:
    return Counter((fact["type"], fact["aggregate_ids"][0]) for fact in await published(url, namespace))


async def kill_often(command: list[str], seen: Callable[[], int], log_path: Path) -> None:
    """Run a service, and kill it each time it has got on, so that it never gets far."""
    for _ in range(KILLS):
        before = seen()
        async with running(command, log_path=log_path) as program:
            await until(lambda before=before: seen() > before)
            await program.kill()


@pytest.mark.parametrize("language", ["javascript", "python"])
async def test_killed_again_and_again_both_end_with_each_order_shipped_once(
    start_service: StartService, tmp_path: Path, language: str
) -> None:
    url = (await start_service()).url
    orders, shipping = Orders(url, tmp_path), Shipping(url, tmp_path, language=language)
    placed = []

    async def place_until_it_is_over() -> None:
        for order in (f"order-{number}" for number in itertools.count(1)):
            await until(lambda order=order: orders.place(order))
            placed.append(order)
            if killing.done():
                return

    killing = asyncio.gather(
        kill_often(orders.command, orders.seen, tmp_path / "orders.log"),
        kill_often(shipping.command, shipping.seen, tmp_path / "shipping.log"),
    )
    placing = asyncio.create_task(place_until_it_is_over())
    await killing
    async with (
        running(orders.command, log_path=tmp_path / "orders.log"),
        running(shipping.command, log_path=tmp_path / "shipping.log"),
    ):
        await placing
        await until(lambda: shipping.seen() == len(placed))
        await until(lambda: orders.know(dict.fromkeys(placed, 1)))
    assert await types_of(url, "orders") == {("OrderPlaced", order): 1 for order in placed}
    assert await types_of(url, "shipping") == {("OrderShipped", order): 1 for order in placed}


@pytest.mark.parametrize("derived", [True, False])
async def test_killed_before_it_keeps_its_cursor_shipping_ships_once(
    start_service: StartService, tmp_path: Path, derived: bool
) -> None:
    """The answer to its publish never arrives. With an id of chance the order would be shipped twice."""
    service = await start_service()
    async with relaying(service.port) as (relay, url):
        shipping = Shipping(url, tmp_path)
        command = shipping.command if derived else altered(shipping.command, DERIVED, RANDOM, directory=tmp_path)
        async with running(command, log_path=tmp_path / "shipping.log") as program:
            await until(shipping.path.exists)  # it follows
            relay.room, relay.stalls = 0, True
            order = new_fact(namespace="orders", aggregate_ids=["order-1"])
            await publish(service.url, order)
            await until(lambda: shipped(service.url))
            await program.kill()
        assert shipping.seen() == 0
        relay.room = float("inf")
        async with running(command, log_path=tmp_path / "shipping.log"):
            await until(lambda: shipping.seen() == 1)
    ids = [fact["id"] for fact in await published(service.url, "shipping")]
    if derived:
        assert ids == [str(uuid5(UUID(order["id"]), "shipped"))]
    else:
        assert len(ids) > 1


async def shipped(url: str) -> bool:
    return bool(await published(url, "shipping"))


async def test_an_order_that_is_repeated_is_placed_once(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service()
    async with relaying(service.port) as (relay, url):
        orders = Orders(url, tmp_path)
        async with running(orders.command, log_path=tmp_path / "orders.log"):
            await until(orders.follows)
            relay.publishing.clear()
            placing = asyncio.create_task(orders.place("order-1"))
            await until(lambda: relay.publishes == 1)
            relay.publishes_to_lose = 1
            relay.publishing.set()
            assert await placing  # at the second attempt
            assert await orders.place("order-1")
            await until(lambda: orders.know({"order-1": 0}))
    assert await types_of(service.url, "orders") == {("OrderPlaced", "order-1"): 1}


async def test_they_come_back_to_a_service_that_was_away(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service()
    orders, shipping = Orders(service.url, tmp_path), Shipping(service.url, tmp_path)
    async with (
        running(orders.command, log_path=tmp_path / "orders.log"),
        running(shipping.command, log_path=tmp_path / "shipping.log"),
    ):
        await until(lambda: orders.place("order-1"))
        await until(lambda: shipping.seen() == 1)
        await service.kill()
        assert not await orders.place("order-2")
        await start_service(port=service.port)
        assert await orders.place("order-2")
        await until(lambda: orders.know({"order-1": 1, "order-2": 1}))


async def test_a_problem_that_would_come_back_ends_them(start_service: StartService, tmp_path: Path) -> None:
    url = (await start_service(auth="keys")).url
    for command in (Orders(url, tmp_path).command, Shipping(url, tmp_path).command):
        code, said = await run(command)
        assert code == 1
        assert "urn:factwire:problem:unauthenticated" in said
