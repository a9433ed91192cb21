"""Allowed hosts: the names and addresses that a request may have in its Host header."""

from collections.abc import Collection
from ipaddress import ip_address

from starlette.types import Scope

from factwire.api.http.direct_response import header
from factwire.api.http.guards import Guard
from factwire.domain.errors import WrongHost
from factwire.settings import Settings

KNOWN_MAX = 1000


def allowed_hosts_of(settings: Settings) -> "AllowedHosts | None":
    """The allowed hosts, or None for all. Without authentication, a foreign page would need no credentials either."""
    return AllowedHosts((settings.host, *settings.hosts)) if settings.is_open or settings.hosts else None


def allowed_host(hosts: "AllowedHosts") -> Guard:
    """Guard: refuse requests for other hosts. Raises WrongHost."""

    def check(scope: Scope) -> None:
        if header(scope, b"host") not in hosts:
            raise WrongHost("The Host header names no host of this service; FACTWIRE_ALLOWED_HOSTS adds names.")

    return check


class AllowedHosts:
    """Set of hosts that a service answers for: IP addresses, loopback names, and the names in the settings.

    IP addresses are safe: DNS rebinding needs a name that an attacker can point to another address.
    """

    def __init__(self, names: Collection[str]) -> None:
        lower = [name.lower() for name in names]
        self._names = {"localhost", *(name for name in lower if not name.startswith("*."))}
        self._parents = (".localhost", *(name[1:] for name in lower if name.startswith("*.")))
        self._known: set[bytes] = set()

    def __contains__(self, host: bytes) -> bool:
        """True if the value of a Host header is an allowed host."""
        if host in self._known:
            return True
        name = name_in(host.decode("latin-1").lower())
        if not self._has(name):
            return False
        if len(self._known) < KNOWN_MAX:
            self._known.add(host)
        return True

    def _has(self, name: str) -> bool:
        is_below = name.endswith(self._parents) and not name.startswith("*")
        return name in self._names or is_below or is_address(name)


def name_in(host: str) -> str:
    """The name or address of a host, without its port and the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")


def is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
