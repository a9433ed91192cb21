"""Workers of a subscription: what becomes of a fact by what its handler does, and of a worker by what befalls it."""

import asyncio
import threading
import time
from typing import Any
from uuid import uuid4

import httpx
import pytest

from factwire_client import Claimed, NewFact, Park, Query, Retry
from factwire_client.problems import LeaseLost, SubscriptionNotFound
from tests.python_client.both import both, client_of
from tests.support.bad_network import Fault, bad_network
from tests.support.service import ServiceProcess
from tests.support.waiting import until


class Shop:
    """A subscription over the orders of one test, and what its workers have seen."""

    def __init__(self, log: Any, half: str) -> None:
        self.log = log
        self.half = half
        self.namespace = f"work-{uuid4()}"
        self.name = self.namespace
        self.seen: list[tuple[str, int]] = []

    async def open(self, *orders: str, **rules: Any) -> None:
        await self.log.subscribe(self.name, Query(namespaces=[self.namespace]), start="start", **rules)
        await self.log.publish_all([NewFact(self.namespace, "Placed", {}, aggregate_ids=[order]) for order in orders])

    async def work(self, act: Any, **options: Any) -> None:
        await self.log.work(self.name, self.handler(act), **({"until_caught_up": True} | options))

    def handler(self, act: Any) -> Any:
        """A handler of either half: `act` is a plain function of what was claimed."""

        def handle(claimed: Claimed) -> None:
            self.seen.append((claimed.fact.aggregate_ids[0], claimed.attempt))
            act(claimed)

        async def handle_in_task(claimed: Claimed) -> None:
            handle(claimed)

        return handle_in_task if self.half == "tasks" else handle

    async def status(self) -> dict[str, Any]:
        status: dict[str, Any] = (await self.log.request("GET", f"/v1/subscriptions/{self.name}")).json()
        return status


def nothing(claimed: Claimed) -> None:
    """A handler that is content."""


@both
async def test_handled_facts_are_acknowledged_in_their_order(service: ServiceProcess, half: str) -> None:
    async with client_of(half, service.url) as log:
        shop = Shop(log, half)
        await shop.open("a", "b", "a")
        await shop.work(nothing, limit=2)
        assert [order for order, _ in shop.seen] == ["a", "b", "a"]
        status = await shop.status()
        assert (status["in_flight"], status["held"], status["lag"]["caught_up"]) == (0, 0, True)


@both
async def test_a_failed_fact_comes_again_and_takes_later_ones_of_its_aggregate_with_it(
    service: ServiceProcess, half: str
) -> None:
    def fail_once(claimed: Claimed) -> None:
        if claimed.fact.aggregate_ids == ["a"] and claimed.attempt == 1 and ("a", 2) not in shop.seen:
            raise ValueError("secret: 4711")

    async with client_of(half, service.url) as log:
        shop = Shop(log, half)
        await shop.open("a", "b", "a", backoff={"first_seconds": 0})
        await shop.work(fail_once)
        assert shop.seen == [("a", 1), ("b", 1), ("a", 2), ("a", 1)]


@both
async def test_a_fact_is_parked_or_delayed_as_its_handler_says(service: ServiceProcess, half: str) -> None:
    def act(claimed: Claimed) -> None:
        match claimed.fact.aggregate_ids[0]:
            case "parked":
                raise Park("no such customer")
            case "later":
                raise Retry("closed", after_seconds=3600)
            case "wrong":
                raise ValueError("secret: 4711")

    async with client_of(half, service.url) as log:
        shop = Shop(log, half)
        await shop.open("parked", "later", "wrong", max_attempts=1)
        await shop.work(act)
        parked = (await log.request("GET", f"/v1/subscriptions/{shop.name}/parked")).json()["facts"]
        # Of an unforeseen error only the class is told: its text may be personal.
        assert [(each["fact"]["aggregate_ids"], each["reason"]) for each in parked] == [
            (["parked"], "no such customer"),
            (["later"], "closed"),  # its one attempt is used up
            (["wrong"], "ValueError"),
        ]


@both
async def test_a_long_work_keeps_its_lease(service: ServiceProcess, half: str) -> None:
    async with client_of(half, service.url) as log:
        shop = Shop(log, half)
        await shop.open("a", ack_timeout_seconds=1)

        def slow(claimed: Claimed) -> None:
            time.sleep(2.5)

        async def slow_in_task(claimed: Claimed) -> None:
            await asyncio.sleep(2.5)

        await log.work(shop.name, slow_in_task if half == "tasks" else slow, until_caught_up=True)
        status = await shop.status()
        assert (status["in_flight"], status["ready"], status["lag"]["caught_up"]) == (0, 0, True)


@both
async def test_a_publish_that_acknowledges_is_one_with_it(service: ServiceProcess, half: str) -> None:
    async with client_of(half, service.url) as log:
        shop = Shop(log, half)
        await shop.open("a", "b")
        claim = await log.claim_once(f"/v1/subscriptions/{shop.name}/claim", {"worker": "w"}, 0)
        first, second = [
            Claimed(log_fact, each["attempt"], each["lease"], shop.name)
            for each in claim["facts"]
            for log_fact in [await log.fact(each["fact"]["id"])]
        ]
        published = await log.publish(shop.namespace + "-out", "Sent", {}, acknowledge=[first, second])
        assert published.acknowledged == 2
        with pytest.raises(LeaseLost) as lost:
            await log.publish(shop.namespace + "-out", "Sent", {}, acknowledge=first)
        assert lost.value.members["leases"] == [first.lease]
        with pytest.raises(ValueError, match="one subscription"):
            await log.publish("x", "Sent", {}, acknowledge=[])


async def test_a_worker_that_is_cancelled_gives_back_what_it_has(service: ServiceProcess) -> None:
    async with client_of("tasks", service.url) as log:
        shop = Shop(log, "tasks")
        await shop.open("a", "b", "c")
        begun = asyncio.Event()

        async def handle(claimed: Claimed) -> None:
            if claimed.fact.aggregate_ids == ["b"]:
                begun.set()
                await asyncio.sleep(60)

        working = asyncio.create_task(log.work(shop.name, handle))
        await begun.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        status = await shop.status()
        assert (status["in_flight"], status["ready"]) == (0, 2)
        shop.seen.clear()
        await shop.work(nothing)
        assert shop.seen == [("b", 1), ("c", 1)]


@both
async def test_a_worker_that_is_told_to_stop_ends_after_the_fact_in_hand(service: ServiceProcess, half: str) -> None:
    async with client_of(half, service.url) as log:
        shop = Shop(log, half)
        await shop.open("a", "b", "c")
        stop = threading.Event()
        await shop.work(lambda claimed: stop.set(), until_caught_up=False, stop=stop)
        assert shop.seen == [("a", 1)]
        await shop.work(nothing)
        assert shop.seen == [("a", 1), ("b", 1), ("c", 1)]


@both
async def test_facts_that_were_lost_meanwhile_are_not_begun(service: ServiceProcess, half: str) -> None:
    """A reset ends the leases while the first fact is handled; then all come again, each once."""
    async with client_of(half, service.url) as log:
        shop = Shop(log, half)
        await shop.open("a", "b", "c", ack_timeout_seconds=1)

        def begin_again(claimed: Claimed) -> None:
            path = f"/v1/subscriptions/{shop.name}/reset"
            httpx.post(f"{service.url}{path}", json={"to": "start"}).raise_for_status()

        async def handle_in_task(claimed: Claimed) -> None:
            shop.seen.append((claimed.fact.aggregate_ids[0], claimed.attempt))
            if len(shop.seen) == 1:
                begin_again(claimed)
                await asyncio.sleep(1)

        def handle(claimed: Claimed) -> None:
            shop.seen.append((claimed.fact.aggregate_ids[0], claimed.attempt))
            if len(shop.seen) == 1:
                begin_again(claimed)
                time.sleep(1)

        await log.work(shop.name, handle_in_task if half == "tasks" else handle, until_caught_up=True)
        assert [order for order, _ in shop.seen] == ["a", "a", "b", "c"]


@both
async def test_a_publish_whose_lease_is_lost_is_no_failure_of_the_handler(
    service: ServiceProcess, half: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of(half, service.url) as log:
        shop = Shop(log, half)
        await shop.open("a")

        def lose(claimed: Claimed) -> None:
            if len(shop.seen) == 1:
                raise LeaseLost(409, {"detail": "lost", "leases": [claimed.lease]})

        await shop.work(lose)
        assert shop.seen == [("a", 1)]
        assert [record.levelname for record in caplog.records if "in the hands" in record.message] == ["WARNING"]


@both
async def test_an_unknown_subscription_ends_the_worker(service: ServiceProcess, half: str) -> None:
    async with client_of(half, service.url) as log:
        with pytest.raises(SubscriptionNotFound):
            await log.work(f"none-{uuid4()}", nothing)


@both
async def test_a_worker_goes_on_through_a_bad_network(service: ServiceProcess, half: str) -> None:
    """Each fact is handled, and acknowledged, whatever is lost on the way; some are handled twice."""
    faults = [Fault("cut", 40), Fault("lose", 300), Fault("end", 700), Fault("repeat", 10), Fault("delay", 50)] * 3
    async with (
        client_of(half, service.url) as direct,
        bad_network(service.port, faults) as (_, url),
        client_of(half, url, give_up_after=30) as log,
    ):
        shop = Shop(direct, half)
        orders = [f"order-{number}" for number in range(12)]
        await shop.open(*orders, ack_timeout_seconds=1, max_attempts=50)
        worker = Shop(log, half)
        worker.name = shop.name

        async def is_done() -> bool:
            status = await shop.status()
            return bool(status["lag"]["caught_up"] and not status["in_flight"] and not status["ready"])

        for _ in range(30):
            await worker.work(nothing, limit=2)
            if await is_done():
                break
            await asyncio.sleep(0.5)
        await until(is_done, seconds=20)
        assert {order for order, _ in worker.seen} == set(orders)
