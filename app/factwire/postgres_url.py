"""URLs of PostgreSQL as other clients know them: what asyncpg does not understand is left out, or refused by name."""

import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

POOLED = "pgbouncer"  # as Prisma and those who host PostgreSQL spell it

# Of libpq, https://www.postgresql.org/docs/current/libpq-connect.html: the service has limits and ways of its own, or
# the server never hears of it.
LEFT_OUT = {
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "sslcertmode",
    "sslcompression",
    "sslsni",
    "tcp_user_timeout",
}

# To leave one of these out would be less safe than what it asks for; the last ones are of other clients.
REFUSED = {
    "hostaddr",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "replication",
    "require_auth",
    "requirepeer",
    "sslcrldir",
    "ssl",
    "sslaccept",
    "sslidentity",
    "connection_limit",
    "pool_timeout",
    "schema",
    "socket_timeout",
    "statement_cache_size",
}

FILES = {"sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile"}
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SSL_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
CHOICES = {
    "sslmode": SSL_MODES,
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": SSL_VERSIONS,
    "ssl_max_protocol_version": SSL_VERSIONS,
    "target_session_attrs": ("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
    "gsslib": ("gssapi", "sspi"),
}
SYSTEM = "system"
SYSTEM_AUTHORITIES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
OWN_AUTHORITY = "PGSSLROOTCERT"
VERIFIED = "verify-full"
TRUTHS = {"true": True, "1": True, "false": False, "0": False}


class SessionNeeded(Exception):
    """What is to be done needs a session of its own, and the URL leads to pooled transactions."""


class UnusableUrl(Exception):
    """A URL with which nothing can be reached. It is not repeated, as a password may stand in it."""


class Target(NamedTuple):
    """Where to connect to. `pooled` says that transactions are pooled: nothing outlasts one."""

    url: str
    pooled: bool


def target_of(url: str) -> Target:
    """What asyncpg takes of a URL. Raises ValueError, which names the option that is wrong and no secret."""
    parts = urlsplit(url)
    check_hosts(parts.netloc)
    if not parts.query:
        return Target(url, pooled=False)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if refused := sorted(REFUSED & options.keys()):
        raise ValueError(f"the option {refused[0]} is not supported here")
    pooled = options.pop(POOLED, "false").lower()
    if pooled not in TRUTHS:
        raise ValueError(f"the option {POOLED} is true or false")
    if options.get("sslrootcert") == SYSTEM:
        if options.setdefault("sslmode", VERIFIED) != VERIFIED:
            raise ValueError(f"sslrootcert={SYSTEM} needs sslmode={VERIFIED}")
        options["sslrootcert"] = system_authorities()
    check_choices(options)
    for name in FILES & options.keys():
        if not Path(options[name]).is_file():
            raise ValueError(f"the file of {name} is not there: {options[name]}")
    kept = {name: value for name, value in options.items() if name not in LEFT_OUT}
    query = f"?{urlencode(kept)}" if kept else ""
    return Target(url.partition("?")[0] + query, TRUTHS[pooled])


def check_choices(options: Mapping[str, str]) -> None:
    """Raises ValueError where an option has a value that is none of its own, or lacks another one that it needs."""
    for name, choices in CHOICES.items():
        if name in options and options[name] not in choices:
            raise ValueError(f"the option {name} is one of {', '.join(choices)}")
    mode = options.get("sslmode", "")
    if mode.startswith("verify-") and not ("sslrootcert" in options or OWN_AUTHORITY in os.environ or has_own_file()):
        raise ValueError(f"sslmode={mode} needs sslrootcert: a file of authorities, or {SYSTEM}")
    if options.get("sslnegotiation") == "direct" and mode not in SSL_MODES[3:]:
        raise ValueError("sslnegotiation=direct needs sslmode=require or stricter")


def has_own_file() -> bool:
    """Whether there is the file of authorities that libpq takes where none is named."""
    try:
        return Path("~/.postgresql/root.crt").expanduser().is_file()
    except RuntimeError:  # there is no home
        return False


def check_hosts(netloc: str) -> None:
    """Raises ValueError where hosts or ports can be none."""
    hosts = netloc.rpartition("@")[2]
    for host in hosts.split(",") if hosts else ():
        name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        name = name if colon else host
        if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
            raise ValueError("a port is a number from 1 to 65535, and an IPv6 address stands in brackets")
        if ":" in name.removeprefix("[").removesuffix("]") and not name.startswith("["):
            raise ValueError("an IPv6 address stands in brackets")
        try:
            unquote(name).encode("idna")
        except UnicodeError:
            name = ""
        if not name:
            raise ValueError("a host is empty, or no name of a host")


def left_out_of(url: str) -> list[str]:
    """The options of a URL that are left out."""
    return [name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True) if name in LEFT_OUT]


def system_authorities() -> str:
    """The file of the authorities that the machine trusts. Raises ValueError where there is none."""
    for file in authority_files():
        if Path(file).is_file():
            return file
    raise ValueError(f"sslrootcert={SYSTEM}: this machine has no file of the authorities that it trusts: name one")


def authority_files() -> Iterator[str]:
    found = ssl.get_default_verify_paths().cafile
    if found is not None:
        yield found
    yield from SYSTEM_AUTHORITIES
