"""Budgets: the memory, or the number, of one kind of work in a process, and the share of one tenant."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from factwire.domain.errors import Unavailable

SHARES = 2


class Budget:
    """Bound for all tenants together, and half of it for each: one tenant never takes the room of the others.

    `refusal` is the detail of the problem if there is not enough room, and names the setting that bounds it. `least` is
    the amount that one request may need: if the bound is less than twice that, a tenant may still take `least`.
    """

    def __init__(self, most: int, *, refusal: str, least: int = 1) -> None:
        self._most = most
        self._share = max(most // SHARES, least)
        self._refusal = refusal
        self._by_tenant: Counter[str] = Counter()
        self.used = 0

    @property
    def tenants(self) -> int:
        """Number of tenants that hold something."""
        return len(self._by_tenant)

    def fits(self, tenant: str, count: int) -> bool:
        """True if a tenant may take this much more."""
        return self.used + count <= self._most and self._by_tenant.get(tenant, 0) + count <= self._share

    def take(self, tenant: str, count: int) -> None:
        """Take an amount, to be given back. Raises Unavailable if it does not fit."""
        self.refuse_beyond(tenant, count)
        self.hold(tenant, count)

    def refuse_beyond(self, tenant: str, count: int) -> None:
        """Raises Unavailable if this much more does not fit."""
        if not self.fits(tenant, count):
            raise Unavailable(self._refusal)

    def hold(self, tenant: str, count: int) -> None:
        """Count an amount that is in use already, even if it does not fit."""
        if not count:  # otherwise the tenant would stay in the table forever
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
        """Take an amount for the duration of a block. Raises Unavailable if it does not fit."""
        self.take(tenant, count)
        try:
            yield
        finally:
            self.give_back(tenant, count)
