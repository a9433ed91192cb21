"""Tenants: whose share of a process a request uses."""

from starlette.types import Scope

from factwire.domain.errors import FactwireError
from factwire.domain.principal import ANYBODY
from factwire.limits.client_address import Proxies, source_of

PRINCIPAL = "factwire.principal"


class Tenants:
    """A tenant is a principal; where nobody has to say who they are, it is the address of the client."""

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies

    def tenant_of(self, scope: Scope) -> str:
        principal = scope["state"].get(PRINCIPAL)
        if principal is None or principal is ANYBODY or isinstance(principal, FactwireError):
            return source_of(self._proxies.address_of(scope))
        name: str = principal.name
        return name
