"""URLs of PostgreSQL as other clients know them: what asyncpg does not understand is left out, or refused by name."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

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
SYSTEM = "system"
SYSTEM_AUTHORITIES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
VERIFIED = "verify-full"
TRUTHS = {"true": True, "1": True, "false": False, "0": False}


class SessionNeeded(Exception):
    """What is to be done needs a session of its own, and the URL leads to pooled transactions."""


class Target(NamedTuple):
    """Where to connect to. `pooled` says that transactions are pooled: nothing outlasts one."""

    url: str
    pooled: bool


def target_of(url: str) -> Target:
    """What asyncpg takes of a URL. Raises ValueError, which names the option that is wrong and no secret."""
    parts = urlsplit(url)
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
    for name in FILES & options.keys():
        if not Path(options[name]).is_file():
            raise ValueError(f"the file of {name} is not there: {options[name]}")
    kept = {name: value for name, value in options.items() if name not in LEFT_OUT}
    query = f"?{urlencode(kept)}" if kept else ""
    return Target(url.partition("?")[0] + query, TRUTHS[pooled])


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
