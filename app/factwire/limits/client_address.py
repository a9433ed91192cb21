"""Client address of a request, also if trusted proxies stand before the service."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

Network = IPv4Network | IPv6Network
IPV6_PREFIX_BITS = 64  # smallest network of one subscriber, which can use all its addresses


class Proxies:
    """Trusted proxies, and the one header in which they send the client address.

    Only one header counts: a proxy forwards headers that it does not know, so a client could set the other one itself.
    """

    def __init__(self, trusted: Sequence[Network], *, header: str = "x-forwarded-for") -> None:
        self._trusted = tuple(trusted)
        self._header = header.encode()
        self.trusts = lru_cache(1024)(self._trusts)

    def address_of(self, scope: Scope) -> str:
        """Address of the client: the last one in the chain that is not a trusted proxy."""
        address: str = (scope["client"] or ("",))[0]
        if not self._trusted:
            return address
        for hop in self._hops(scope):
            if not self.trusts(address):
                break
            try:
                address = str(plain_address(hop))
            except ValueError:
                break  # obfuscated or malformed: the proxy that sent it is the last known address
        return address

    def _trusts(self, address: str) -> bool:
        try:
            known = plain_address(address)
        except ValueError:
            return False
        return any(known in network for network in self._trusted)

    def _hops(self, scope: Scope) -> Iterator[str]:
        """Addresses in the header, the nearest hop first."""
        lines = [value.decode("latin-1") for name, value in scope["headers"] if name == self._header]
        for part in reversed(",".join(lines).split(",")):
            yield forwarded_for(part) if self._header == b"forwarded" else part.strip()


def forwarded_for(element: str) -> str:
    """The `for` of one element of a Forwarded header (RFC 7239); empty if it has none."""
    pairs = (pair.partition("=") for pair in element.split(";"))
    return next((value.strip().strip('"') for name, _, value in pairs if name.strip().lower() == "for"), "")


def plain_address(text: str) -> IPv4Address | IPv6Address:
    """Parse an address as headers contain it, with optional brackets and port. Raises ValueError."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    address = ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(4096)
def source_of(address: str) -> str:
    """Key that counts as one client: an IPv4 address, or the network of an IPv6 address."""
    try:
        known = plain_address(address)
    except ValueError:
        return address
    return str(known) if known.version == 4 else str(ip_network((known, IPV6_PREFIX_BITS), strict=False))
