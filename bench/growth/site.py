"""One log that grows, and serves every scenario at its present size."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from bench.cluster import Cluster
from bench.options import Options
from bench.processes import Target
from bench.site import History, Site

_COPIED_FACTS_MAX = 100_000


class GrownSite(Site):
    """Every phase works on the loaded log itself, or on a copy of it where publishing would make it much longer.

    The facts whose history is read are the newest that were loaded.
    """

    def __init__(self, cluster: Cluster, options: Options, database: str, facts: int) -> None:
        super().__init__(cluster, replace(options, facts=min(options.facts, facts)))
        self._database = database
        self._facts = facts

    @asynccontextmanager
    async def log(self) -> AsyncIterator[str]:
        if self._facts > _COPIED_FACTS_MAX:
            yield self._database
        else:
            async with self.cluster.database(self._database) as copy:
                yield copy

    async def history(self, fill: Callable[[Target], Awaitable[None]]) -> History:
        """As it was loaded: read before anything is published to the log itself."""
        return History(self._database, after=self._facts - self.options.facts)
