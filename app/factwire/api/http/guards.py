"""Guards: checks of a request before its operation and its principal are known, kept as a tuple of functions.

Every entry point of the service runs the same tuple, so that none can omit a guard: the middleware, and the publish
path that skips ASGI (server/fast_publish).
"""

from collections.abc import Callable

from starlette.types import Scope

from factwire.api.http.rate_limits import begin_request
from factwire.limits.client_address import Proxies, source_of
from factwire.limits.quotas import Quotas

Guard = Callable[[Scope], None]
"""Raises FactwireError if the request is refused."""


def address_quota(quotas: Quotas, proxies: Proxies) -> Guard:
    """Guard that counts the request against the quota of its client address. Raises RateLimited."""
    return lambda scope: begin_request(scope, quotas, source_of(proxies.address_of(scope)))
