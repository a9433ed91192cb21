"""Durability settings of the database: a crash must not lose acknowledged facts."""

from factwire.store.connection import Connection

# synchronous_commit has the value of the session: a role or a database may have its own value.
WEAK_SETTINGS = """
select name from pg_settings
 where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off'
 order by name
"""


async def weak_settings(connection: Connection) -> list[str]:
    """Names of the settings that are off, so that a crash of the server may lose or damage acknowledged facts."""
    return [row["name"] for row in await connection.fetch(WEAK_SETTINGS)]
