"""A query as the arrays that the functions of the store take."""

from app.domain.query import Item, Query

SEPARATOR = "\x1f"
INCLUDED, EXCLUDED = "\x1c", "\x1d"


def query_arrays(query: Query) -> tuple[list[str], list[str], list[str]]:
    """Namespaces, types and tags of each item; the values of a part are joined by a character that none can contain."""
    return (
        [_namespaces(item) for item in query.items],
        [_joined(item.types) for item in query.items],
        [_joined(item.tags) for item in query.items],
    )


def _namespaces(item: Item) -> str:
    """Names, or the patterns of what may be read, marked as such; see readable_namespaces in alembic/sql."""
    if item.namespaces or item.within.are_all:
        return _joined(item.namespaces)
    return SEPARATOR.join(
        [f"{INCLUDED}{pattern}" for pattern in item.within.include]
        + [f"{EXCLUDED}{pattern}" for pattern in item.within.exclude]
    )


def _joined(values: tuple[str, ...]) -> str:
    # An empty string reads as a part left out. One empty name matches nothing, and is sent as two of them.
    return SEPARATOR.join(values) or (SEPARATOR if values else "")
