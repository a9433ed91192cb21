"""Explanations of connection errors: the cause, and the change that fixes it. A URL is never repeated.

Nor is the text of an error about a URL: if the URL cannot be parsed, the text may quote a part of the password.
"""

import ssl

import asyncpg

from factwire.store.connection import CONNECT_SECONDS

# Beginnings of the asyncpg messages about certificate authorities. Its other messages may quote the URL.
OF_AUTHORITIES = ("root certificate file", "cannot determine location of user")

# The first that fits is used. The messages of the errors themselves say the rest.
CHANGES: tuple[tuple[type[Exception], str], ...] = (
    (asyncpg.InvalidCatalogNameError, "create the database, or correct its name in FACTWIRE_DATABASE_URL"),
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "correct role and password in FACTWIRE_DATABASE_URL, or let them in by pg_hba.conf",
    ),
    (asyncpg.TooManyConnectionsError, "raise max_connections, or the limit of the role or the database"),
    (
        asyncpg.ProtocolViolationError,
        "add pgbouncer=true to FACTWIRE_DATABASE_URL, see docs/operations.md, Behind PgBouncer",
    ),
    (asyncpg.PostgresError, "read the log of PostgreSQL"),
    (
        ssl.SSLError,
        "name the host in FACTWIRE_DATABASE_URL as its certificate does, and the authority by sslrootcert",
    ),
)

NO_HOST = "no host of the URL has the state that target_session_attrs requires"
NO_FILE = "the socket of the server, or a file that the URL or a variable of libpq names, is not there"


def explain_failure(error: Exception) -> tuple[str, str]:
    """Cause of a connection failure, and the change that fixes it."""
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return NO_HOST, "promote one of them, or name the primary"
    for kind, change in CHANGES:
        if isinstance(error, kind):
            return str(error), change
    if isinstance(error, FileNotFoundError):  # asyncpg does not say which
        return NO_FILE, "correct host and port, or sslrootcert, sslcert and sslkey, in FACTWIRE_DATABASE_URL"
    if isinstance(error, OSError):  # or TimeoutError, which says nothing
        reason = str(error) or f"no answer within {CONNECT_SECONDS:g} s"
        return reason, "start PostgreSQL there, or correct host and port in FACTWIRE_DATABASE_URL"
    if isinstance(error, asyncpg.ClientConfigurationError) and str(error).startswith(OF_AUTHORITIES):
        return str(error), "name the authority of the certificate by sslrootcert in the URL: a file, or system"
    return f"the URL is of no use ({type(error).__name__})", (
        "correct FACTWIRE_DATABASE_URL: postgresql://role:password@host:5432/name, with %2F for / in a password"
    )
