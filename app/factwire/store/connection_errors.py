"""Why a connection could not be made, and what to change. A URL is never repeated.

Nor is the text of an error about a URL: where it cannot be parsed, it may quote a part of the password.
"""

import ssl

import asyncpg

from factwire.store.connection import CONNECT_SECONDS

# What asyncpg says where it looks for an authority. Other texts of its may quote the URL.
OF_AUTHORITIES = ("root certificate file", "cannot determine location of user")

# The first that fits. Their own texts tell the rest.
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
    (asyncpg.PostgresError, "see what PostgreSQL logs"),
    (
        ssl.SSLError,
        "name the host in FACTWIRE_DATABASE_URL as its certificate does, and the authority by sslrootcert",
    ),
)

NO_HOST = "no host of the URL is what target_session_attrs asks for"
NO_FILE = "the socket of the server, or a file that the URL or a variable of libpq names, is not there"


def explain_failure(error: Exception) -> tuple[str, str]:
    """What to tell of a connection that could not be made, and what to change."""
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return NO_HOST, "promote one of them, or name the primary"
    for kind, change in CHANGES:
        if isinstance(error, kind):
            return str(error), change
    if isinstance(error, FileNotFoundError):  # asyncpg does not tell which
        return NO_FILE, "correct host and port, or sslrootcert, sslcert and sslkey, in FACTWIRE_DATABASE_URL"
    if isinstance(error, OSError):  # or TimeoutError, which says nothing
        told = str(error) or f"no answer within {CONNECT_SECONDS:g} s"
        return told, "start PostgreSQL there, or correct host and port in FACTWIRE_DATABASE_URL"
    if isinstance(error, asyncpg.ClientConfigurationError) and str(error).startswith(OF_AUTHORITIES):
        return str(error), "name the authority of the certificate by sslrootcert in the URL: a file, or system"
    return f"the URL is of no use ({type(error).__name__})", (
        "correct FACTWIRE_DATABASE_URL: postgresql://role:password@host:5432/name, with %2F for / in a password"
    )
