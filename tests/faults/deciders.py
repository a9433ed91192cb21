"""Deciders: publish on conditions with whole cursors, of which some are old."""

import asyncio

from tests.faults.clients import PAUSE_SECONDS, Publisher, sent_of
from tests.faults.history import Condition, Read

CURSORS_MAX = 60


class Decider(Publisher):
    """Decides on what it has just read, or on what it read a while ago: then perhaps in a history that was lost."""

    async def run(self) -> None:
        cursors: list[tuple[int, int]] = []
        while not self.shared.stopping.is_set():
            found = await self.read(Read(0, 1, "Decided", descending=True))
            if found.status == 200:
                cursors[:] = [*cursors[-CURSORS_MAX:], (found.epoch, found.head)]
            if cursors:
                epoch, head = cursors[-1] if self.random.random() < 0.5 else self.random.choice(cursors)
                decision = f"decision-{self.random.randrange(1000)}"
                body = self.body("Decided", decision)
                await self.publish([sent_of(body)], [body], Condition("Decided", decision, head, epoch))
            await asyncio.sleep(self.random.uniform(0, 2 * PAUSE_SECONDS))
