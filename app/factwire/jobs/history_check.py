"""History check after a promotion or restore: confirmation by a process that had seen the history, or a warning."""

import asyncio
import logging
import math

import asyncpg

from factwire.follow.tail import Tail
from factwire.store.connection import Connection
from factwire.store.timelines import KeptHistory, ServerTimeline, confirm, read_kept, read_server

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
DENIED_SECONDS = 60.0  # between two queries that the server denies: it may log each of them


class HistoryCheck:
    """Compares the server with the one on which the history was last known to be complete. It refuses nothing.

    A promotion, or a restore, by itself does not show what was lost. A process that has followed the log since before
    searches for the newest fact that it has seen: if that is still at its position, it confirms the server for all
    processes. A process that began afterwards has nothing to compare, and warns until the server is confirmed:
    `unconfirmed`.
    """

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._look_at = -math.inf
        self._trusted_beginning: int | None = None
        self._warned_of: ServerTimeline | None = None
        self._denied = False
        self.unconfirmed = False

    async def look(self, connection: Connection, *, at_once: bool) -> None:
        """Compare the server, if the check is due."""
        now = asyncio.get_running_loop().time()
        if not self._tail.started or self._tail.on_standby or (now < self._look_at and not at_once):
            return
        # Before any read: a tail that begins again meanwhile has forgotten the facts that it had seen.
        beginning = self._tail.beginnings
        server = await read_server(connection)
        self._look_at = now + (DENIED_SECONDS if server is None or self._denied else LOOK_SECONDS)
        if server is None:
            return
        kept = await read_kept(connection)
        if kept.server == server:
            self._mark_confirmed(beginning)
        elif kept.server is None:
            if await self._confirm(connection, server, kept):
                self._mark_confirmed(beginning)
        elif self._trusted_beginning == beginning:
            await self._confirm_seen_fact(connection, server, kept)
        else:
            self._warn(server, kept)

    def _mark_confirmed(self, beginning: int) -> None:
        """Make this process a witness: from here on its tail has seen a history that is known to be complete."""
        if self.unconfirmed:
            log.info("the history was confirmed")
        self._trusted_beginning = beginning
        self.unconfirmed = False

    async def _confirm_seen_fact(self, connection: Connection, server: ServerTimeline, kept: KeptHistory) -> None:
        """Confirm the server, if the newest fact that was seen before is there, on this same connection."""
        assert kept.server is not None
        self.unconfirmed = True
        if kept.fork is not None:
            return
        if kept.epoch != self._tail.epoch or not await self._tail.is_continued_on(connection):
            self._tail.hint()  # the tail finds the loss and reports it
        elif await self._confirm(connection, server, kept):
            self.unconfirmed = False
            log.info(
                "the database was promoted or restored (%s): the newest fact that was read before is still there",
                kept.server.change_to(server),
            )
        elif not self._denied:
            self._look_at = -math.inf  # another process has just confirmed it, or noticed a fork

    async def _confirm(self, connection: Connection, server: ServerTimeline, kept: KeptHistory) -> bool:
        try:
            return await confirm(connection, server, instead_of=kept)
        except asyncpg.InsufficientPrivilegeError as error:
            if not self._denied:
                log.warning("the server cannot be recorded, `factwire doctor` names the privilege: %s", error)
            self._denied = True
            return False

    def _warn(self, server: ServerTimeline, kept: KeptHistory) -> None:
        assert kept.server is not None
        self.unconfirmed = True
        if kept.fork is None and server != self._warned_of:
            log.warning(
                "the database was promoted or restored (%s) and no process that read the history before has confirmed"
                " that nothing was lost: run `factwire epoch raise` if commits were lost, else `factwire epoch keep`",
                kept.server.change_to(server),
            )
            self._warned_of = server
