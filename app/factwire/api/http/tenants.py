"""Tenants: each request uses the share of its tenant in the resources of a process."""

from starlette.types import Scope

from factwire.domain.errors import FactwireError
from factwire.domain.principal import ANYBODY
from factwire.limits.client_address import Proxies, source_of

PRINCIPAL = "factwire.principal"


class Tenants:
    """Tenants of requests: the principal, or the address of the client if no credentials are required."""

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies

    def tenant_of(self, scope: Scope) -> str:
        principal = scope["state"].get(PRINCIPAL)
        if principal is None or principal is ANYBODY or isinstance(principal, FactwireError):
            return source_of(self._proxies.address_of(scope))
        name: str = principal.name
        return name
