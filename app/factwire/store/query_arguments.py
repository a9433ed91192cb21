"""Encoding of queries as array arguments of the SQL functions of the store."""

from functools import lru_cache

from factwire.domain.condition import Precondition, Searched
from factwire.domain.fact import FAMILY, NAMESPACE
from factwire.domain.grants import ALL, BEFORE_NAMES, BELOW, NamespaceSet, covers
from factwire.domain.query import Item, Query

SEPARATOR = "\x1f"
BETWEEN_PARTS = "\x1c"
EXACT = "="
NEEDED, FOUND = "!", "+"  # of a precondition: a fact must match, one was found
NAMES_REMEMBERED = 1024


def query_arrays(query: Query) -> tuple[list[str], list[str], list[str]]:
    """Namespaces, types and tags of each item; the values of a part are joined by a character that none contains."""
    parts = [item_texts(item) for item in query.items]
    return [part[0] for part in parts], [part[1] for part in parts], [part[2] for part in parts]


def item_texts(item: Item, need: str = "") -> tuple[str, str, str]:
    """Namespaces, types and tags of an item; `need` is that of a precondition, see check_conditions in alembic/sql."""
    tags = _values(item.tags)
    if item.any_tags or need:
        tags = BETWEEN_PARTS.join([tags, _values(item.any_tags), need])
    return _scope(item), _values(item.types), tags


def precondition_texts(precondition: Precondition, searched: Searched | None) -> tuple[str, str, str]:
    found = searched is not None and searched.found
    return item_texts(precondition.item, FOUND if found else NEEDED if precondition.must_match else "")


def _scope(item: Item) -> str:
    """Namespaces of an item, encoded for parse_scope in alembic/sql."""
    if item.namespaces:
        bounds = [bound for name in item.namespaces for bound in (name, f"{name}{BEFORE_NAMES}")]
        return _scope_text(bounds, [f"{NAMESPACE}{name}" for name in item.namespaces], exact=True)
    return "" if item.within.are_all else _scope_within(item.within)


@lru_cache(NAMES_REMEMBERED)
def _scope_within(within: NamespaceSet) -> str:
    """Encode the namespaces that grants make readable: each pattern has a posting list, except `*`.

    The lists are not exact if a part of them is excluded, or if a pattern goes deeper than the first dot: lists exist
    only up to there.
    """
    lists = [] if ALL in within.include else sorted({_list_of(pattern) for pattern in within.include})
    exact = not any(
        covers(included, excluded) or covers(excluded, included)
        for included in within.include
        for excluded in within.exclude
    )
    deep = any("." in pattern.removesuffix(BELOW) for pattern in within.include if pattern.endswith(BELOW))
    return _scope_text(list(within.ranges), lists, exact=exact and not deep)


def _list_of(pattern: str) -> str:
    return f"{FAMILY}{pattern.partition('.')[0]}" if pattern.endswith(BELOW) else f"{NAMESPACE}{pattern}"


def _scope_text(bounds: list[str], lists: list[str], *, exact: bool) -> str:
    return BETWEEN_PARTS.join([SEPARATOR.join(bounds), SEPARATOR.join(lists), EXACT if exact else ""])


def _values(values: tuple[str, ...]) -> str:
    # An empty string means that the part is left out. One empty name matches nothing, and is sent as two of them.
    return SEPARATOR.join(values) or (SEPARATOR if values else "")
