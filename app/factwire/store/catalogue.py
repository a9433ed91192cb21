"""Catalogue of namespaces, types and versions, with the number of facts of each and the position of the last one."""

from dataclasses import dataclass

import asyncpg

from factwire.domain.grants import EVERY_NAMESPACE, NamespaceSet
from factwire.store.connection import Connection

LIST_NAMESPACES = "select namespace, facts, last_position from factwire.list_namespaces($1, $2, $3, $4)"

LIST_TYPES = "select type, versions, facts, last_position from factwire.list_types($1, $2, $3, $4)"

COUNT_TYPE = "select version, facts, last_position from factwire.count_type($1, $2)"

FOLD_COUNTS = "select factwire.fold_counts($1)"


@dataclass(frozen=True, slots=True)
class ListedPage:
    """Page of names to list: those that begin with `prefix` and follow `after`, at most `names_max` of them."""

    prefix: str = ""
    after: str = ""
    names_max: int = 100


async def read_namespaces(
    connection: Connection, listed: ListedPage, readable: NamespaceSet = EVERY_NAMESPACE
) -> list[asyncpg.Record]:
    """Namespaces that may be read, in order: `namespace`, `facts` and `last_position`."""
    bounds = None if readable.are_all else readable.ranges
    return await connection.fetch(LIST_NAMESPACES, bounds, listed.prefix, listed.after, listed.names_max)


async def read_types(connection: Connection, namespace: str, listed: ListedPage) -> list[asyncpg.Record]:
    """Types of a namespace, in order: `type`, its `versions`, `facts` and `last_position`."""
    return await connection.fetch(LIST_TYPES, namespace, listed.prefix, listed.after, listed.names_max)


async def read_versions(connection: Connection, namespace: str, type: str) -> list[asyncpg.Record]:
    """Versions of a type, in order: `version`, `facts` and `last_position`."""
    return await connection.fetch(COUNT_TYPE, namespace, type)


async def fold_counts(connection: Connection, *, facts_max: int) -> int:
    """Add uncounted facts to the counts and to activity. Returns their number; 0 while another process does it."""
    folded: int = await connection.fetchval(FOLD_COUNTS, facts_max)
    return folded
