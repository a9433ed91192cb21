"""Grants: in which namespaces a principal may do what."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from app.domain.fact import NAME

BELOW = ".*"
ALL = "*"


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Namespaces by pattern: `loans` is that one, `loans.*` are all whose names go on behind the dot, `*` is each.

    What is excluded stays out, whatever includes it; without an inclusion there is none. Patterns are sorted and
    unique, so that equal grants are equal values.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __contains__(self, namespace: str) -> bool:
        return any_covers(self.include, namespace) and not any_covers(self.exclude, namespace)

    @property
    def are_all(self) -> bool:
        return ALL in self.include and not self.exclude


EVERY_NAMESPACE = Namespaces(include=(ALL,))


@dataclass(frozen=True, slots=True)
class Grants:
    """Nothing granted means nothing seen."""

    publish: Namespaces = Namespaces()
    read: Namespaces = Namespaces()
    manage: Namespaces = Namespaces()


EVERYTHING = Grants(EVERY_NAMESPACE, EVERY_NAMESPACE, EVERY_NAMESPACE)


def new_namespaces(include: Iterable[str], exclude: Iterable[str] = ()) -> Namespaces:
    """Namespaces in their normal form. Raises ValueError naming a pattern that is none."""
    for pattern in (*include, *exclude):
        if not is_pattern(pattern):
            raise ValueError(f"{pattern!r} is no namespace, no namespace followed by {BELOW}, and not {ALL}")
    return Namespaces(tuple(sorted(set(include))), tuple(sorted(set(exclude))))


def is_pattern(text: str) -> bool:
    return text == ALL or re.fullmatch(NAME, text.removesuffix(BELOW)) is not None


def any_covers(patterns: tuple[str, ...], namespace: str) -> bool:
    return any(
        pattern in (ALL, namespace) or (pattern.endswith(BELOW) and namespace.startswith(pattern[:-1]))
        for pattern in patterns
    )
