"""Whether the database keeps what it acknowledges."""

from factwire.store.pools import Connection

# synchronous_commit is that of the session: a role or a database may have a value of its own.
WEAK_SETTINGS = """
select name from pg_settings
 where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off'
 order by name
"""


async def weak_settings(connection: Connection) -> list[str]:
    """The settings with which a crash of the server may lose or damage facts that were acknowledged."""
    return [row["name"] for row in await connection.fetch(WEAK_SETTINGS)]
