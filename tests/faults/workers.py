"""Workers of one subscription: they claim, and acknowledge in time, late or never, or return what they have."""

import asyncio
from typing import Any

import httpx
import msgspec

from tests.faults.clients import BROKEN, TYPES, Publisher, sent_of
from tests.faults.history import Claim, Handed, Outcome, Sent, Settle, seen

SUBSCRIPTION = "/v1/subscriptions/workers"
TYPE = TYPES[0]
LEASE_SECONDS = 1.0
WAIT_SECONDS = 0.5
FINISH_SECONDS = 60.0
LIMITS = (1, 2, 5, 20)
DEFINITION = {
    "query": {"items": [{"namespaces": ["shop"], "types": [TYPE]}]},
    "start": "start",
    "ack_timeout_seconds": LEASE_SECONDS,
    "max_attempts": 1000,
    "backoff": {"first_seconds": 0.05, "most_seconds": 0.5},
}
OPEN = ("in_flight", "held", "ready", "delayed", "parked")


class Shopper(Publisher):
    """Publishes about few customers, each with several orders, so that many facts wait for earlier ones."""

    def batch(self, count: int) -> tuple[list[Sent], list[dict[str, Any]]]:
        bodies = [
            self.body(TYPE, "")
            | {"aggregate_ids": [f"order-{self.random.randrange(60)}", f"customer-{self.random.randrange(12)}"]}
            for _ in range(count)
        ]
        return [sent_of(body) for body in bodies], bodies


class Worker(Publisher):
    """Works until the run is over, and then, with the others, until nothing is left."""

    async def run(self) -> None:
        await self._until_subscribed()
        while not self.shared.stopping.is_set():
            facts = await self._claim(self.random.choice(LIMITS))
            if facts:
                await self._settle_somehow(facts)
            else:
                await asyncio.sleep(self.random.uniform(0, 0.1))
            if self.random.random() < 0.05:
                await self._post("parked/replay", {})

    async def finish(self) -> None:
        """Acknowledge everything that is left, parked facts too."""
        async with asyncio.timeout(FINISH_SECONDS):
            while not await self._is_done():
                await self._post("parked/replay", {})
                facts = await self._claim(100)
                if facts:
                    await self._settle("ack", facts)

    async def _until_subscribed(self) -> None:
        while not self.shared.stopping.is_set():
            try:
                response = await self._http.put(self.url + SUBSCRIPTION, json=DEFINITION)
                if response.is_success:
                    return
            except BROKEN:
                self.elsewhere()
            await asyncio.sleep(self.random.uniform(0.02, 0.2))

    async def _settle_somehow(self, facts: list[Handed]) -> None:
        chance = self.random.random()
        if chance < 0.03:  # a crash: nobody says anything, and the lease runs out
            return
        if chance < 0.06:
            await asyncio.sleep(self.random.uniform(0.8, 1.8) * LEASE_SECONDS)
        await asyncio.sleep(self.random.uniform(0, 0.02))
        if chance > 0.8:
            returned = self.random.choice(facts)
            facts = [fact for fact in facts if fact is not returned]
            await self._settle(self.random.choice(("nack", "nack", "release", "park")), [returned])
        for _ in range(3):  # a lost answer is no answer
            if not facts or (await self._settle("ack", facts)).status not in {0, 503}:
                break

    async def _claim(self, limit: int) -> list[Handed]:
        request = Claim(TYPE, limit, LEASE_SECONDS)
        body = {"worker": self.process, "limit": limit, "wait_seconds": WAIT_SECONDS}
        outcome = await self._call(request, claimed, "POST", f"{SUBSCRIPTION}/claim", json=body)
        return outcome.handed

    async def _settle(self, how: str, facts: list[Handed]) -> Outcome:
        leases = [fact.lease for fact in facts]
        body = {"leases": leases} | ({"park": True} if how == "park" else {})
        path = f"{SUBSCRIPTION}/{'nack' if how == 'park' else how}"
        return await self._call(Settle(how, leases), settled, "POST", path, json=body)

    async def _post(self, operation: str, body: dict[str, object]) -> None:
        try:
            await self._http.post(f"{self.url}{SUBSCRIPTION}/{operation}", json=body)
        except BROKEN:
            self.elsewhere()

    async def _is_done(self) -> bool:
        try:
            response = await self._http.get(self.url + SUBSCRIPTION)
        except BROKEN:
            self.elsewhere()
            return False
        status = response.json() if response.is_success else {}
        return bool(status and status["lag"]["caught_up"] and not any(status[name] for name in OPEN))


class _Claimed(msgspec.Struct):
    lease: str
    attempt: int
    fact: msgspec.Raw


class _Claims(msgspec.Struct):
    facts: list[_Claimed]


def claimed(response: httpx.Response) -> Outcome:
    body = msgspec.json.decode(response.content, type=_Claims)
    return Outcome(200, handed=[Handed(each.lease, each.attempt, seen(bytes(each.fact))) for each in body.facts])


def settled(response: httpx.Response) -> Outcome:
    return Outcome(200)
