"""Guards: checks of a request before its operation and its principal are known, as data for whoever loops over them.

Every way into the service runs the same tuple, so that none can forget a guard: the middleware below, and the way of
publishes that skips ASGI (server/fast_publish).
"""

from collections.abc import Callable

from starlette.types import Scope

from factwire.api.http.rate_limits import begin_request
from factwire.limits.client_address import Proxies, source_of
from factwire.limits.quotas import Quotas

Guard = Callable[[Scope], None]
"""Raises FactwireError if the request is refused."""


def address_quota(quotas: Quotas, proxies: Proxies) -> Guard:
    """Guard: count the request for the address of its client. Raises RateLimited."""
    return lambda scope: begin_request(scope, quotas, source_of(proxies.address_of(scope)))
