"""Middleware that runs the guards, and the list of the guards."""

import logging
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from factwire.api.http.direct_response import is_forwarded
from factwire.api.http.guards import Guard, address_quota
from factwire.api.http.problems import problem_response
from factwire.api.http.rate_limits import count_body
from factwire.api.http.reconnect_later import ReconnectLater
from factwire.api.http.stream_options import STREAMS
from factwire.api.middleware.allowed_hosts import allowed_host, allowed_hosts_of
from factwire.api.middleware.cross_site import same_site
from factwire.api.middleware.headers import single_headers
from factwire.domain.errors import FactwireError, Forbidden, RateLimited
from factwire.limits.client_address import Proxies
from factwire.limits.quotas import Quotas
from factwire.settings import Settings

log = logging.getLogger(__name__)

PROBES = frozenset({"/livez", "/readyz", "/metrics"})  # allowed for any address and any host name, without rate limits

OPEN_TO_PROXY = (
    "without FACTWIRE_AUTH the service is open to this machine alone, and a proxy would open it to others: set"
    " FACTWIRE_AUTH=keys, or FACTWIRE_AUTH=none for a service that is open to every client that reaches it"
)


def guards_of(settings: Settings, *, proxies: Proxies, quotas: Quotas | None) -> tuple[Guard, ...]:
    """The guards of a process, cheapest first; the rate limiter is the last."""
    hosts = allowed_hosts_of(settings)
    return (
        single_headers,
        *([] if hosts is None else [allowed_host(hosts)]),
        *([not_forwarded()] if settings.is_open_implicitly else []),
        same_site(settings.origins),
        *([] if quotas is None else [address_quota(quotas, proxies)]),
    )


def not_forwarded() -> Guard:
    """Guard: refuse requests that a proxy has forwarded. Raises Forbidden; the first one is logged."""
    logged = False

    def check(scope: Scope) -> None:
        nonlocal logged
        if is_forwarded(scope):
            if not logged:
                logged = True
                log.warning("requests that a proxy has forwarded are refused: %s", OPEN_TO_PROXY)
            raise Forbidden(OPEN_TO_PROXY)

    return check


class GuardMiddleware:
    """Middleware that runs the guards before each request except probes. Streams over a rate limit reconnect later."""

    def __init__(self, app: ASGIApp, guards: Sequence[Guard], returns: ReconnectLater, *, counts_bodies: bool) -> None:
        self._app = app
        self._guards = guards
        self._returns = returns
        self._counts_bodies = counts_bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        try:
            for guard in self._guards:
                guard(scope)
        except FactwireError as error:
            later = isinstance(error, RateLimited) and scope["path"] in STREAMS
            await (self._returns.later() if later else problem_response(error))(scope, receive, send)
        else:
            await self._app(scope, count_body(scope, receive) if self._counts_bodies else receive, send)
