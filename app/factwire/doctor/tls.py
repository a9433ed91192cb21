"""TLS protection of the connection to the database."""

import os
from ipaddress import ip_address
from urllib.parse import parse_qs, unquote, urlsplit

VERIFIED = "verify-full"


def unverified_hosts(url: str) -> tuple[str, ...]:
    """Remote hosts of a URL for which the certificate is not verified.

    An attacker on the path to such a host can read and change everything, even if the connection is encrypted.
    """
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    mode = query.get("sslmode", [os.environ.get("PGSSLMODE", "")])[-1]
    if mode == VERIFIED:
        return ()
    named = query.get("host", [parts.netloc.rpartition("@")[2]])[-1] or os.environ.get("PGHOST", "")
    return tuple(host for host in map(host_of, unquote(named).split(",")) if is_elsewhere(host))


def host_of(named: str) -> str:
    """Host without its port."""
    if named.startswith("["):
        return named[1:].partition("]")[0]
    return named.partition(":")[0] if named.count(":") == 1 else named


def is_elsewhere(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return True
