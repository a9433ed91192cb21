"""Grants: in which namespaces a principal may do what."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from factwire.domain.fact import NAME, RESERVED_NAMESPACE
from factwire.domain.limits import NAME_LENGTH_MAX, VALUES_MAX

BELOW = ".*"
ALL = "*"
BEFORE_NAMES, ABOVE_NAMES = "\x01", "~"  # below and above every character of a name
AFTER_DOT = chr(ord(".") + 1)


def any_covers(patterns: tuple[str, ...], namespace: str) -> bool:
    """Whether one of the patterns covers a namespace, or all that another pattern covers."""
    for pattern in patterns:  # noqa: SIM110 (any() with a generator takes twice as long, for each fact)
        if covers(pattern, namespace):
            return True
    return False


def covers(pattern: str, other: str) -> bool:
    return pattern in (ALL, other) or (pattern.endswith(BELOW) and other.startswith(pattern[:-1]))


@dataclass(frozen=True, slots=True)
class NamespaceSet:
    """NamespaceSet by pattern: `loans` is that one, `loans.*` are all whose names go on behind the dot, `*` is each.

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

    @property
    def ranges(self) -> tuple[str, ...]:
        """The names as sorted ranges: each begins at one text and ends before the next one."""
        return subtract_ranges(merge_ranges(map(range_of, self.include)), merge_ranges(map(range_of, self.exclude)))

    def cover(self, others: "NamespaceSet") -> bool:
        """Whether each of the others is one of these. Of two patterns, one covers the other or they share nothing."""
        return all(any_covers(self.include, pattern) for pattern in others.include) and all(
            any_covers(others.exclude, excluded)
            or not any(covers(pattern, excluded) or covers(excluded, pattern) for pattern in others.include)
            for excluded in self.exclude
        )


EVERY_NAMESPACE = NamespaceSet(include=(ALL,))


@dataclass(frozen=True, slots=True)
class Grants:
    """Nothing granted means nothing seen.

    `readable` is what `read` comes to: the namespace of the audit is for those who manage it, and for those whose
    `read` names it. No pattern does: whoever may read everything else need not hear of keys and erasures.
    """

    publish: NamespaceSet = NamespaceSet()
    read: NamespaceSet = NamespaceSet()
    manage: NamespaceSet = NamespaceSet()
    readable: NamespaceSet = field(init=False, compare=False)

    def __post_init__(self) -> None:
        include, exclude = set(self.read.include), set(self.read.exclude)
        hears = self.manages_access or RESERVED_NAMESPACE in include
        (include if hears else exclude).add(RESERVED_NAMESPACE)
        readable = NamespaceSet(tuple(sorted(include)), tuple(sorted(exclude)) if include else ())
        object.__setattr__(self, "readable", readable)

    @property
    def manages_access(self) -> bool:
        """Whether keys may be made and revoked."""
        return RESERVED_NAMESPACE in self.manage

    def cover(self, others: "Grants") -> bool:
        """Whether the others allow nothing that these do not."""
        return (
            self.publish.cover(others.publish)
            and self.readable.cover(others.readable)
            and self.manage.cover(others.manage)
        )


EVERYTHING = Grants(EVERY_NAMESPACE, EVERY_NAMESPACE, EVERY_NAMESPACE)


def range_of(pattern: str) -> tuple[str, str]:
    """The names that a pattern covers lie from the first of two texts on and before the second.

    Code points are compared, as PostgreSQL's collation "C" does with UTF-8.
    """
    if pattern == ALL:
        return "", ABOVE_NAMES
    if pattern.endswith(BELOW):
        return pattern[:-1], f"{pattern[:-2]}{AFTER_DOT}"
    return pattern, f"{pattern}{BEFORE_NAMES}"


def merge_ranges(ranges: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Sorted ranges that neither overlap nor touch, of any."""
    found: list[tuple[str, str]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1]:
            found[-1] = found[-1][0], max(high, found[-1][1])
        else:
            found.append((low, high))
    return found


def subtract_ranges(ranges: Iterable[tuple[str, str]], others: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The bounds of what is left of some ranges without others; both are sorted and do not overlap."""
    bounds: list[str] = []
    for low, high in ranges:
        for other_low, other_high in others:
            if other_low < high and other_high > low:
                if low < other_low:
                    bounds += (low, other_low)
                low = max(low, other_high)
        if low < high:
            bounds += (low, high)
    return tuple(bounds)


def new_namespace_set(include: Iterable[str], exclude: Iterable[str] = ()) -> NamespaceSet:
    """NamespaceSet in their normal form. Raises ValueError naming a pattern that is none."""
    for pattern in (*include, *exclude):
        if not is_pattern(pattern):
            raise ValueError(f"{pattern!r} is no namespace, no namespace followed by {BELOW}, and not {ALL}")
    return NamespaceSet(tuple(sorted(set(include))), tuple(sorted(set(exclude))))


def is_pattern(text: str) -> bool:
    name = text.removesuffix(BELOW)
    return text == ALL or (len(name) <= NAME_LENGTH_MAX and re.fullmatch(NAME, name) is not None)


ACTIONS = ("publish", "read", "manage")


def grants_from(form: Any) -> Grants:
    """Raises ValueError where it says something else than which namespaces are granted for what."""
    if not isinstance(form, dict) or not form.keys() <= set(ACTIONS):
        raise ValueError(f"expected an object with {', '.join(ACTIONS)}")
    return Grants(**{action: namespaces_from(action, each) for action, each in form.items()})


def namespaces_from(action: str, form: Any) -> NamespaceSet:
    if not isinstance(form, dict) or not form.keys() <= {"include", "exclude"}:
        raise ValueError(f"{action}: expected an object with include and exclude")
    parts = [form.get(name, []) for name in ("include", "exclude")]
    if not all(isinstance(part, list | tuple) and all(isinstance(pattern, str) for pattern in part) for part in parts):
        raise ValueError(f"{action}: expected lists of patterns")
    if any(len(part) > VALUES_MAX for part in parts):
        raise ValueError(f"{action}: expected at most {VALUES_MAX} patterns in a list")
    return new_namespace_set(*parts)


def form_of(grants: Grants) -> dict[str, Any]:
    """Without what says nothing. What is excluded is kept also where nothing is included: it may be included elsewhere.

    `manage` of `factwire` lets its reading in, for example, and `read` may keep it out.
    """
    return {
        action: {"include": list(granted.include), "exclude": list(granted.exclude)}
        for action in ACTIONS
        if (granted := getattr(grants, action)) != NamespaceSet()
    }
