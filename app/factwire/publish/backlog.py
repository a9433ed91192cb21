"""Back-pressure: bounds the publishes under way, by count and bytes, in total and per tenant."""

from dataclasses import dataclass

from factwire.domain.budget import SHARES
from factwire.publish.batch import Request


@dataclass(slots=True)
class BacklogShare:
    """Publishes of one tenant that are under way."""

    requests: int = 0
    bytes: int = 0


class Backlog:
    """Two budgets in one, count and bytes, since every publish takes from both; see Budget for the share of a tenant.

    `request_bytes_max` is the size limit of one request: the share of a tenant is never smaller, even if that is
    more than half of `bytes_max`.
    """

    def __init__(self, *, requests_max: int, bytes_max: int, request_bytes_max: int) -> None:
        self.requests = 0
        self.bytes = 0
        self._requests_max = requests_max
        self._bytes_max = bytes_max
        self._share_requests_max = max(requests_max // SHARES, 1)
        self._share_bytes_max = max(bytes_max // SHARES, request_bytes_max)
        self._by_tenant: dict[str, BacklogShare] = {}

    def enter(self, request: Request) -> bool:
        """Count a request until it leaves. True if it is within the limits."""
        share = self._by_tenant.get(request.tenant)
        if share is None:
            share = self._by_tenant[request.tenant] = BacklogShare()
        self.requests += 1
        self.bytes += request.bytes
        share.requests += 1
        share.bytes += request.bytes
        return (
            self.requests <= self._requests_max
            and self.bytes <= self._bytes_max
            and share.requests <= self._share_requests_max
            and share.bytes <= self._share_bytes_max
        )

    def leave(self, request: Request) -> None:
        share = self._by_tenant[request.tenant]
        self.requests -= 1
        self.bytes -= request.bytes
        share.requests -= 1
        share.bytes -= request.bytes
        if not share.requests:
            del self._by_tenant[request.tenant]
