"""Connecting to PostgreSQL: what a session asks for, and what asyncpg is kept from doing to it."""

from collections.abc import Mapping
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from factwire.postgres_url import target_of

CONNECT_SECONDS = 5.0
MIGRATING = "factwire migrate"

# The server ends what a client that vanished or was stopped left behind. No statement here is worth a compilation.
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
    """Open a connection of its own, whose session the server ends like those of the service.

    A command that vanishes between an append and its commit would else hold the lock of the log for as long as the
    server's TCP believes in it: two hours, by default.
    """
    target = target_of(url)
    # Without a limit of ours, one of the role or the database would be what a migration or a look at the log has.
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
    """Let asyncpg not switch JIT, which it does before it looks at types, and for the rest of the session.

    It would switch it back only where it had found it on, and in our transactions it is off: behind a pooler the
    session is somebody else's next. It has no public way to say so.
    """
    connection._server_caps = connection._server_caps._replace(jit=False)  # type: ignore[attr-defined]


def connect_arguments(pooled: bool, session: Mapping[str, str], *, application_name: str) -> dict[str, Any]:
    """What a connection asks for at its start: next to nothing where transactions are pooled.

    A pooler refuses start-up parameters that it does not know, and has no place for statements with a name: each of
    them may come to another session.
    """
    if pooled:
        return {"server_settings": {"application_name": application_name}, "statement_cache_size": 0}
    return {"server_settings": {**session, "application_name": application_name}}


def sqlalchemy_engine(url: str) -> AsyncEngine:
    """An engine that takes the same URLs as asyncpg itself, several hosts and sockets included."""

    async def open_one() -> Any:
        return await connect(url, application_name=MIGRATING)

    return create_async_engine("postgresql+asyncpg://", async_creator=open_one, poolclass=NullPool)
