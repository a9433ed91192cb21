"""A query as the arrays that the functions of the store take."""

from app.domain.query import Query

SEPARATOR = "\x1f"


def query_arrays(query: Query) -> tuple[list[str], list[str], list[str]]:
    """Namespaces, types and tags of each item; the values of a part are joined by a character that none can contain."""
    return (
        [_joined(item.namespaces) for item in query.items],
        [_joined(item.types) for item in query.items],
        [_joined(item.tags) for item in query.items],
    )


def _joined(values: tuple[str, ...]) -> str:
    # An empty string reads as a part left out. One empty name matches nothing, and is sent as two of them.
    return SEPARATOR.join(values) or (SEPARATOR if values else "")
