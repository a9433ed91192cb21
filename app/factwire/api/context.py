"""What the routes of one application work with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request

from factwire.access.access import Access
from factwire.access.allowances import Allowances
from factwire.access.keyring import Keyring
from factwire.access.lending import Sessions, Tickets
from factwire.api.bodies import Bodies
from factwire.api.returning import Returns
from factwire.api.tenants import Tenants
from factwire.domain.budget import Budget
from factwire.domain.limits import Limits
from factwire.settings import Settings
from factwire.store.database import Database
from factwire.stream.erasing import Erasing
from factwire.stream.following import Streams
from factwire.stream.moments import Moments
from factwire.stream.publisher import Publisher
from factwire.stream.tail import Tail
from factwire.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from factwire.telemetry.tracing import Tracing


@dataclass(slots=True)
class Context:
    """The floors below, as the composition root built them, and the state of this process."""

    settings: Settings
    limits: Limits
    access: Access
    keyring: Keyring | None
    tickets: Tickets
    sessions: Sessions
    database: Database
    bodies: Bodies
    publisher: Publisher
    tail: Tail
    tenants: Tenants
    unread: Budget
    queries: Budget
    returns: Returns
    moments: Moments
    streams: Streams
    erasing: Erasing
    metrics: Metrics
    tracing: "Tracing | None" = None
    allowances: Allowances | None = None
    schema_seen: bool = False
    draining: bool = False

    @property
    def database_reachable(self) -> bool:
        """Whether the tail reads, and nobody else fails at more than writing on a standby."""
        failing = [lane for lane in self.database.lanes() if lane.failing]
        return self.tail.reads and all(self.tail.on_standby and lane.refused_writes for lane in failing)

    @property
    def database_state(self) -> str:
        """How the process finds its database, in one word."""
        if not self.tail.looked:
            return "starting"
        if not self.database_reachable:
            return "unreachable"
        return "standby" if self.tail.on_standby else "reachable"


def context_of(request: Request) -> Context:
    context: Context = request.app.state.context
    return context
