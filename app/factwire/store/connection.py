"""Connections to PostgreSQL: the settings of a session, and the protection of its JIT setting from asyncpg."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from factwire.postgres_url import target_of

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
"""First parameter of the functions of the store."""

CONNECT_SECONDS = 5.0
MIGRATING = "factwire migrate"

# The server ends the session of a client that vanished or was stopped. No statement here is worth a JIT compilation.
SESSION = {
    "default_transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "15000",
    "client_connection_check_interval": "2s",
    "jit": "off",
}


async def connect(
    url: str, *, application_name: str, statement_seconds: float | None = None
) -> "asyncpg.Connection[asyncpg.Record]":
    """Open a connection outside of any pool; the server ends its session like those of the service.

    Otherwise a command that vanishes between an append and its commit would hold the lock of the log until the TCP
    timeout of the server: two hours, by default.
    """
    target = target_of(url)
    # Without a limit of ours, one of the role or the database would apply to a migration or an inspection of the log.
    session = SESSION if statement_seconds is not None else {**SESSION, "statement_timeout": "0"}
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
        target.url,
        timeout=CONNECT_SECONDS,
        command_timeout=statement_seconds,
        **connect_arguments(target.pooled, session, application_name=application_name),
    )
    keep_from_switching(connection)
    return connection


def keep_from_switching(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Prevent asyncpg from switching JIT, which it does before it reads types, and for the rest of the session.

    It would switch JIT back only if it had found it on, and in our transactions it is off: with a pooler, another
    client uses the session next. asyncpg has no public option for this.
    """
    connection._server_caps = connection._server_caps._replace(jit=False)  # type: ignore[attr-defined]


def connect_arguments(pooled: bool, session: Mapping[str, str], *, application_name: str) -> dict[str, Any]:
    """Connection arguments: session settings, or almost none of them if transactions are pooled.

    A pooler refuses start-up parameters that it does not know, and cannot keep named statements: each use of one may
    reach another session.
    """
    if pooled:
        return {"server_settings": {"application_name": application_name}, "statement_cache_size": 0}
    return {"server_settings": {**session, "application_name": application_name}}
