"""A query as the arrays that the functions of the store take."""

from app.domain.query import Query

SEPARATOR = "\x1f"


def query_arrays(query: Query) -> tuple[list[str], list[str], list[str]]:
    """Namespaces, types and tags of each item; the values of a part are joined by a character that none can contain."""
    return (
        [SEPARATOR.join(item.namespaces) for item in query.items],
        [SEPARATOR.join(item.types) for item in query.items],
        [SEPARATOR.join(item.tags) for item in query.items],
    )
