"""Erasers: publish about data subjects, destroy their keys, redact facts, and repeat all that until it is certain."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import httpx

from tests.faults.clients import PATIENCE_SECONDS, Publisher, sent_of
from tests.faults.history import Erase, Outcome, Redact

STORED_MAX = 12


class Eraser(Publisher):
    """Erases one data subject after the other, and redacts a fact beside each."""

    acknowledged = 0
    doubts = 0

    async def run(self) -> None:
        stored: list[tuple[str, str]] = []
        erased: list[tuple[str, str]] = []
        while not self.shared.stopping.is_set():
            if not stored or (len(stored) < STORED_MAX and self.random.random() < 0.6):
                stored += await self._store()
            else:
                data_subject, other = stored.pop()
                await self.until_gone(partial(self.erase, data_subject))
                await self.until_gone(partial(self.redact, other))
                erased.append((data_subject, other))
                await self._touch(*self.random.choice(erased))
            await asyncio.sleep(self.random.uniform(0, 0.1))

    async def _store(self) -> list[tuple[str, str]]:
        """Publish about a data subject, with a fact to redact; none where that was not acknowledged at once."""
        data_subject = f"customer-{self.random.getrandbits(32):08x}"
        other = self.body("OrderSent", "order-redacted")
        bodies = [*(self.body_about(data_subject) for _ in range(self.random.randint(1, 3))), other]
        known = await self.until_acknowledged([sent_of(body) for body in bodies], bodies, None, tries=1)
        return [(data_subject, other["id"])] if known else []

    async def _touch(self, data_subject: str, redacted: str) -> None:
        """Ask again for what was done, or publish about whom nothing can be published any more."""
        match self.random.randrange(3):
            case 0:
                await self.erase(data_subject)
            case 1:
                await self.redact(redacted)
            case _:
                body = self.body_about(data_subject)
                await self.publish([sent_of(body)], [body], None)

    def body_about(self, data_subject: str) -> dict[str, Any]:
        return self.body("CustomerNamed", data_subject) | {"data_subject": data_subject}

    async def erase(self, data_subject: str) -> Outcome:
        return await self._call(Erase(data_subject), erased_at, "DELETE", f"/v1/data-subjects/{data_subject}")

    async def redact(self, id: str) -> Outcome:
        reason = {"reason": "asked for"}
        return await self._call(Redact(id), redacted_at, "POST", f"/v1/facts/{id}/redaction", json=reason)

    async def until_gone(self, once: Callable[[], Awaitable[Outcome]]) -> None:
        """Repeat until the outcome is certain, or the run is over."""
        give_up_at = self.shared.recorder.now() + PATIENCE_SECONDS
        while self.shared.recorder.now() < give_up_at:
            outcome = await once()
            self.acknowledged += outcome.acknowledged
            self.doubts += outcome.problem == "outcome-unknown"
            if outcome.acknowledged or 400 <= outcome.status < 500 or self.shared.stopping.is_set():
                return
            await asyncio.sleep(self.random.uniform(0.02, 0.2))


def erased_at(response: httpx.Response) -> Outcome:
    return Outcome(response.status_code, published_at=response.json()["erased_at"])


def redacted_at(response: httpx.Response) -> Outcome:
    body = response.json()
    return Outcome(response.status_code, positions=(body["position"],), published_at=body["redacted_at"])
