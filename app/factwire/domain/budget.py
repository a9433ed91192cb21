"""Budgets: the memory, or the number, that one kind of work may take in a process, and the share of one tenant."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from factwire.domain.errors import Unavailable

SHARES = 2


class Budget:
    """So much for all tenants together, and half of it for each: one tenant never takes the room of the others.

    `refusal` is the detail of the problem where there is no room, and names the setting that bounds it. `least` is what
    one request may need: where all is less than twice that, a tenant may have so much.
    """

    def __init__(self, most: int, *, refusal: str, least: int = 1) -> None:
        self._most = most
        self._share = max(most // SHARES, least)
        self._refusal = refusal
        self._by_tenant: Counter[str] = Counter()
        self.used = 0

    @property
    def tenants(self) -> int:
        """How many tenants hold something."""
        return len(self._by_tenant)

    def fits(self, tenant: str, count: int) -> bool:
        """Whether a tenant may take so much more."""
        return self.used + count <= self._most and self._by_tenant.get(tenant, 0) + count <= self._share

    def take(self, tenant: str, count: int) -> None:
        """Take so much more, to be given back. Raises Unavailable where it does not fit."""
        self.refuse_beyond(tenant, count)
        self.hold(tenant, count)

    def refuse_beyond(self, tenant: str, count: int) -> None:
        """Raises Unavailable where so much more does not fit."""
        if not self.fits(tenant, count):
            raise Unavailable(self._refusal)

    def hold(self, tenant: str, count: int) -> None:
        """Count what is there already, whether it fits or not."""
        if not count:  # which would leave the tenant in the table for ever
            return
        self.used += count
        self._by_tenant[tenant] += count

    def give_back(self, tenant: str, count: int) -> None:
        if not count:
            return
        self.used -= count
        self._by_tenant[tenant] -= count
        if self._by_tenant[tenant] <= 0:
            del self._by_tenant[tenant]

    @contextmanager
    def held(self, tenant: str, count: int) -> Iterator[None]:
        """Take so much for a while. Raises Unavailable where it does not fit."""
        self.take(tenant, count)
        try:
            yield
        finally:
            self.give_back(tenant, count)
