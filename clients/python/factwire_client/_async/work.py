"""A worker of a subscription: claims facts, has them handled, and acknowledges or returns them."""

from __future__ import annotations

import logging
import time
from typing import Any, Awaitable, Callable, Mapping, Protocol
from urllib.parse import quote

import httpx

from .. import problems
from ..errors import FactwireError
from ..facts import Fact, encode
from ..keeping import async_at_last, async_kept
from ..work import Claimed, Park, Retry, Stop, returned_as

log = logging.getLogger(__name__)

WAIT_SECONDS = 20.0
FLUSH_SECONDS = 1.0


class AsyncRequests(Protocol):
    """What a worker needs of the client."""

    async def request(self, method: str, path: str, **more: Any) -> httpx.Response: ...

    async def claim_once(self, path: str, body: Mapping[str, Any], wait_seconds: float) -> Any: ...

    def typed_fact(self, members: Mapping[str, Any]) -> Fact: ...


class AsyncWorker:
    """Works on one claim at a time, on its facts one after the other."""

    def __init__(
        self,
        client: AsyncRequests,
        subscription: str,
        handle: Callable[[Claimed], Awaitable[None]],
        worker: str,
        limit: int,
        stop: Stop | None,
    ) -> None:
        self._client = client
        self._name = subscription
        self._path = f"/v1/subscriptions/{quote(subscription, safe='')}"
        self._handle = handle
        self._worker = worker
        self._limit = limit
        self._stop = stop
        self._timeout = 30.0
        self._left: list[dict[str, Any]] = []
        self._done: list[str] = []
        self._lost: set[str] = set()
        self._flushed_at = 0.0

    async def run(self, *, until_caught_up: bool) -> None:
        status = await self._client.request("GET", self._path)
        self._timeout = float(status.json()["ack_timeout_seconds"])
        wait_seconds = 0.0 if until_caught_up else WAIT_SECONDS
        while not self._is_stopped:
            body = {"worker": self._worker, "limit": self._limit, "wait_seconds": wait_seconds}
            answer = await self._client.claim_once(f"{self._path}/claim", body, wait_seconds)
            await self._work_off(answer["facts"])
            if until_caught_up and not answer["facts"] and (answer["caught_up"] or answer["state"] != "active"):
                return

    async def _work_off(self, facts: list[dict[str, Any]]) -> None:
        """Handle the facts of one claim. What is left when this ends by force goes back at once."""
        self._left, self._lost, self._flushed_at = list(facts), set(), time.monotonic()
        try:
            while self._left and not self._is_stopped:
                if self._left[0]["lease"] in self._lost:
                    self._left.pop(0)
                    continue
                await self._handle_one(self._left[0])
                if time.monotonic() - self._flushed_at > FLUSH_SECONDS:
                    await self._flush()
            await self._give_up()
        except BaseException:
            await async_at_last(self._give_up)
            raise

    @property
    def _is_stopped(self) -> bool:
        return self._stop is not None and self._stop.is_set()

    async def _handle_one(self, members: dict[str, Any]) -> None:
        lease = members["lease"]
        failure = await async_kept(self._handle_members, members, self._extend, self._timeout / 3)
        self._left.pop(0)
        if failure is None:
            self._done.append(lease)
            return
        if isinstance(failure, problems.LeaseLost) and lease in failure.members.get("leases", ()):
            log.warning("the fact at position %s is in the hands of another worker", members["fact"]["position"])
            return
        if not isinstance(failure, (Park, Retry)):
            log.error("the fact at position %s was not handled", members["fact"]["position"], exc_info=failure)
        await self._flush()
        returned = await self._say("nack", {"leases": [lease], **returned_as(failure)})
        withdrawn = set(returned.get("withdrawn", ()))
        self._left = [each for each in self._left if each["lease"] not in withdrawn]

    async def _handle_members(self, members: dict[str, Any]) -> None:
        fact = self._client.typed_fact(members["fact"])
        await self._handle(Claimed(fact, members["attempt"], members["lease"], self._name))

    async def _extend(self) -> None:
        leases = [each["lease"] for each in self._left] + self._done
        await self._say("extend", {"leases": leases[:1000]})

    async def _flush(self) -> None:
        """Acknowledge what is done."""
        done, self._done, self._flushed_at = self._done, [], time.monotonic()
        if done:
            await self._say("ack", {"leases": done})

    async def _give_up(self) -> None:
        await self._flush()
        if self._left:
            await self._say("release", {"leases": [each["lease"] for each in self._left]})

    async def _say(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        """Tell the service of facts. If others have them by now, or it cannot be reached, they come again."""
        try:
            content = encode(body).encode()
            response = await self._client.request("POST", f"{self._path}/{operation}", content=content)
            answer: dict[str, Any] = response.json()
            return answer
        except problems.SubscriptionNotFound:
            raise
        except problems.LeaseLost as error:
            self._lost.update(error.members.get("leases", ()))  # others have them: they are not begun any more
            log.warning("%s of the subscription %s: %s", operation, self._name, error)
            return {}
        except FactwireError as error:
            log.warning("%s of the subscription %s: %s", operation, self._name, error)
            return {}
