"""Context: the services and the state that the routes of one application use."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request

from factwire.api.http.bodies import Bodies
from factwire.api.http.reconnect_later import ReconnectLater
from factwire.api.http.tenants import Tenants
from factwire.auth.authenticator import Authentication
from factwire.auth.key_cache import KeyCache
from factwire.auth.sessions import Sessions
from factwire.auth.tickets import Tickets
from factwire.domain.budget import Budget
from factwire.domain.limits import Limits
from factwire.follow.erasure import Eraser
from factwire.follow.log_state import LogStateReader
from factwire.follow.streams import Streams
from factwire.follow.tail import Tail
from factwire.limits.quotas import Quotas
from factwire.publish.intake import Intake
from factwire.publish.publisher import Publisher
from factwire.settings import Settings
from factwire.store.pools import Pools
from factwire.subscriptions.subscriptions import Subscriptions
from factwire.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from factwire.telemetry.tracing import Tracing


@dataclass(slots=True)
class Context:
    """Services of the lower layers, as the composition root built them, and the state of this process."""

    settings: Settings
    limits: Limits
    access: Authentication
    key_cache: KeyCache | None
    tickets: Tickets
    sessions: Sessions
    pools: Pools
    bodies: Bodies
    publisher: Publisher
    intake: Intake
    tail: Tail
    tenants: Tenants
    unread: Budget
    queries: Budget
    returns: ReconnectLater
    log_state: LogStateReader
    streams: Streams
    subscriptions: Subscriptions
    erasing: Eraser
    metrics: Metrics
    tracing: "Tracing | None" = None
    quotas: Quotas | None = None
    schema_seen: bool = False

    @property
    def database_reachable(self) -> bool:
        """True if the tail reads, and no connection pool fails at anything but writing on a standby."""
        failing = [pool for pool in self.pools.all() if pool.failing]
        return self.tail.reads and all(self.tail.on_standby and pool.refused_writes for pool in failing)

    @property
    def database_state(self) -> str:
        """State of the database as this process sees it, in one word."""
        if not self.tail.looked:
            return "starting"
        if not self.database_reachable:
            return "unreachable"
        return "standby" if self.tail.on_standby else "reachable"


def context_of(request: Request) -> Context:
    context: Context = request.app.state.context
    return context
