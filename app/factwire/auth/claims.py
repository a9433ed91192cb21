"""Grants from the claims of a token, as configured in the settings."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from factwire.domain.grants import Grants, NamespaceSet, form_of, grants_from

Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ClaimGrants:
    """Grants that a claim contains, and grants that the settings assign to values of claims.

    A claim is identified by its name, or by a JSON pointer if it is inside another claim: `/realm_access/roles`.
    """

    claim: str | None
    by_value: Mapping[str, Mapping[str, Grants]]

    @property
    def form(self) -> list[Any]:
        """The mapping from claims to grants in JSON form; equal mappings have equal forms."""
        by_value = {
            name: {value: form_of(each) for value, each in values.items()} for name, values in self.by_value.items()
        }
        return [self.claim, by_value]

    def of(self, claims: Claims) -> Grants:
        """All grants of a token, combined. Raises ValueError if the claim for grants does not contain any."""
        granted = [
            granted_by_value[value]
            for name, granted_by_value in self.by_value.items()
            for value in split_claim(find(claims, name))
            if value in granted_by_value
        ]
        own = None if self.claim is None else find(claims, self.claim)
        if own is not None:
            granted.append(grants_from(json.loads(own) if isinstance(own, str) else own))
        return combine(granted)


def by_value_from(text: str | None) -> dict[str, dict[str, Grants]]:
    """Grants by claim and value, parsed from JSON. Raises ValueError."""
    form = json.loads(text or "{}")
    if not isinstance(form, dict) or not all(isinstance(each, dict) for each in form.values()):
        raise ValueError("expected an object of claims, each an object of values and their grants")
    return {name: {value: grants_from(each) for value, each in values.items()} for name, values in form.items()}


def find(claims: Claims, name: str) -> Any:
    """Value of a claim; None if the claim is missing."""
    if not name.startswith("/"):
        return claims.get(name)
    found: Any = claims
    for part in name[1:].split("/"):
        if not isinstance(found, dict):
            return None
        found = found.get(part.replace("~1", "/").replace("~0", "~"))
    return found


def split_claim(value: Any) -> Iterable[str]:
    """The values of a claim: the members of a list, or the words of a text, as in `scope` (RFC 8693, 4.2)."""
    if isinstance(value, str):
        return value.split()
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else ()


def combine(granted: Iterable[Grants]) -> Grants:
    """Union of several grants; an exclusion in one of them overrides the inclusions of all others."""
    each = list(granted)
    return Grants(
        publish=union(grants.publish for grants in each),
        read=union(grants.read for grants in each),
        manage=union(grants.manage for grants in each),
    )


def union(several: Iterable[NamespaceSet]) -> NamespaceSet:
    each = list(several)
    include = {pattern for namespaces in each for pattern in namespaces.include}
    exclude = {pattern for namespaces in each for pattern in namespaces.exclude}
    return NamespaceSet(tuple(sorted(include)), tuple(sorted(exclude)))
