"""Grants: the namespaces in which a principal may publish, read and manage, and its subscriptions."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from factwire.domain.fact import NAME, RESERVED_NAMESPACE
from factwire.domain.limits import NAME_LENGTH_MAX, VALUES_MAX

BELOW = ".*"
ALL = "*"
BEFORE_NAMES, ABOVE_NAMES = "\x01", "~"  # sort before and after every character of a name
AFTER_DOT = chr(ord(".") + 1)


def any_covers(patterns: tuple[str, ...], namespace: str) -> bool:
    """True if one of the patterns covers a namespace, or everything that another pattern covers."""
    for pattern in patterns:  # noqa: SIM110 (any() with a generator takes twice as long, for each fact)
        if covers(pattern, namespace):
            return True
    return False


def covers(pattern: str, other: str) -> bool:
    return pattern in (ALL, other) or (pattern.endswith(BELOW) and other.startswith(pattern[:-1]))


@dataclass(frozen=True, slots=True)
class NamespaceSet:
    """Namespaces by pattern: `loans` is one name, `loans.*` are all names that begin with `loans.`, `*` is every name.

    An exclusion overrides every inclusion; without an inclusion the set is empty. Patterns are sorted and unique, so
    that equal grants are equal values.
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
        """The names as sorted ranges: each begins at one text and ends before the next text."""
        return subtract_ranges(merge_ranges(map(range_of, self.include)), merge_ranges(map(range_of, self.exclude)))

    def cover(self, others: "NamespaceSet") -> bool:
        """True if each of the others is in this set. Of two patterns, one covers the other or they are disjoint."""
        return all(any_covers(self.include, pattern) for pattern in others.include) and all(
            any_covers(others.exclude, excluded)
            or not any(covers(pattern, excluded) or covers(excluded, pattern) for pattern in others.include)
            for excluded in self.exclude
        )


EVERY_NAMESPACE = NamespaceSet(include=(ALL,))


@dataclass(frozen=True, slots=True)
class Grants:
    """Grants of a principal. Without grants, nothing is visible.

    `readable` is the effective form of `read`: the namespace of the audit is visible to principals that manage it, and
    to those with a `read` that names it. A pattern does not include it: a principal that may read everything else need
    not see keys and erasures.
    """

    publish: NamespaceSet = NamespaceSet()
    read: NamespaceSet = NamespaceSet()
    manage: NamespaceSet = NamespaceSet()
    subscribe: NamespaceSet = NamespaceSet()
    readable: NamespaceSet = field(init=False, compare=False)

    def __post_init__(self) -> None:
        include, exclude = set(self.read.include), set(self.read.exclude)
        hears = self.manages_access or RESERVED_NAMESPACE in include
        (include if hears else exclude).add(RESERVED_NAMESPACE)
        readable = NamespaceSet(tuple(sorted(include)), tuple(sorted(exclude)) if include else ())
        object.__setattr__(self, "readable", readable)

    @property
    def manages_access(self) -> bool:
        """True if keys may be created and revoked."""
        return RESERVED_NAMESPACE in self.manage

    def cover(self, others: "Grants") -> bool:
        """True if the others allow nothing that these do not."""
        return (
            self.publish.cover(others.publish)
            and self.readable.cover(others.readable)
            and self.manage.cover(others.manage)
            and self.subscribe.cover(others.subscribe)
        )


EVERYTHING = Grants(EVERY_NAMESPACE, EVERY_NAMESPACE, EVERY_NAMESPACE, EVERY_NAMESPACE)


def range_of(pattern: str) -> tuple[str, str]:
    """Range of the names that a pattern covers: from the first text on, and before the second.

    Code points are compared, as PostgreSQL's collation "C" does with UTF-8.
    """
    if pattern == ALL:
        return "", ABOVE_NAMES
    if pattern.endswith(BELOW):
        return pattern[:-1], f"{pattern[:-2]}{AFTER_DOT}"
    return pattern, f"{pattern}{BEFORE_NAMES}"


def merge_ranges(ranges: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Merge ranges into sorted ones that neither overlap nor touch."""
    found: list[tuple[str, str]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1]:
            found[-1] = found[-1][0], max(high, found[-1][1])
        else:
            found.append((low, high))
    return found


def subtract_ranges(ranges: Iterable[tuple[str, str]], others: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Bounds of some ranges without others; both are sorted and do not overlap."""
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
    """NamespaceSet in its normal form. Raises ValueError with the name of an invalid pattern."""
    for pattern in (*include, *exclude):
        if not is_pattern(pattern):
            raise ValueError(f"{pattern!r} is neither a namespace, nor a namespace followed by {BELOW}, nor {ALL}")
    return NamespaceSet(tuple(sorted(set(include))), tuple(sorted(set(exclude))))


def is_pattern(text: str) -> bool:
    name = text.removesuffix(BELOW)
    return text == ALL or (len(name) <= NAME_LENGTH_MAX and re.fullmatch(NAME, name) is not None)


ACTIONS = ("publish", "read", "manage", "subscribe")


def grants_from(form: Any) -> Grants:
    """Grants from their JSON form. Raises ValueError if it contains anything but namespaces for each action."""
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
    """JSON form of grants, without empty entries.

    Exclusions are kept even without an inclusion: the inclusion may be elsewhere. `manage` of `factwire`, for example,
    includes reading it, and `read` may exclude that.
    """
    return {
        action: {"include": list(granted.include), "exclude": list(granted.exclude)}
        for action in ACTIONS
        if (granted := getattr(grants, action)) != NamespaceSet()
    }
