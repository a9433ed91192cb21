"""PostgreSQL URLs of libpq and other clients: options that asyncpg does not support are left out or refused."""

import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

POOLED = "pgbouncer"  # the spelling of Prisma and of PostgreSQL hosting providers

# Options of libpq, https://www.postgresql.org/docs/current/libpq-connect.html: the service has its own limits and
# methods for these, or they do not reach the server.
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

# Leaving one of these out would be less safe than the option demands. The last ones belong to other clients.
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
    """An operation needs its own database session, but the URL leads to a transaction pooler."""


class UnusableUrl(Exception):
    """URL that cannot be used to connect. The message does not repeat it, as it may contain a password."""


class Target(NamedTuple):
    """Connection target. `pooled` means that transactions are pooled: session state does not outlast a transaction."""

    url: str
    pooled: bool


def target_of(url: str) -> Target:
    """Connection target for asyncpg from a URL.

    Raises ValueError if an option is wrong; the message names the option and contains no secret.
    """
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
    """Raises ValueError if an option has an unknown value, or if another option that it needs is missing."""
    for name, choices in CHOICES.items():
        if name in options and options[name] not in choices:
            raise ValueError(f"the option {name} is one of {', '.join(choices)}")
    mode = options.get("sslmode", "")
    if mode.startswith("verify-") and not ("sslrootcert" in options or OWN_AUTHORITY in os.environ or has_own_file()):
        raise ValueError(f"sslmode={mode} needs sslrootcert: a file of authorities, or {SYSTEM}")
    if options.get("sslnegotiation") == "direct" and mode not in SSL_MODES[3:]:
        raise ValueError("sslnegotiation=direct needs sslmode=require or stricter")


def has_own_file() -> bool:
    """True if the default CA certificate file of libpq exists, which is used if no file is named."""
    try:
        return Path("~/.postgresql/root.crt").expanduser().is_file()
    except RuntimeError:  # the user does not have a home directory
        return False


def check_hosts(netloc: str) -> None:
    """Raises ValueError if a host or a port is invalid."""
    hosts = netloc.rpartition("@")[2]
    for host in hosts.split(",") if hosts else ():
        name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        name = name if colon else host
        if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
            raise ValueError("a port is a number from 1 to 65535; an IPv6 address must be in brackets")
        if ":" in name.removeprefix("[").removesuffix("]") and not name.startswith("["):
            raise ValueError("an IPv6 address must be in brackets")
        try:
            unquote(name).encode("idna")
        except UnicodeError:
            name = ""
        if not name:
            raise ValueError("a host is empty, or no name of a host")


def left_out_of(url: str) -> list[str]:
    """Options of a URL that are left out."""
    return [name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True) if name in LEFT_OUT]


def system_authorities() -> str:
    """CA certificate file that this machine trusts. Raises ValueError if no such file exists."""
    for file in authority_files():
        if Path(file).is_file():
            return file
    raise ValueError(f"sslrootcert={SYSTEM}: this machine has no file of the authorities that it trusts: name one")


def authority_files() -> Iterator[str]:
    found = ssl.get_default_verify_paths().cafile
    if found is not None:
        yield found
    yield from SYSTEM_AUTHORITIES
